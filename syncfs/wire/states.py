"""The states of a session and every move between them; what is not in the table ends the session.

scripts/draw-states draws the table into docs/formats/wire.md.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


class State(enum.Enum):
    """What a session waits for."""

    WAIT_FIRST = "responder waits for the first handshake message"
    WAIT_SECOND = "initiator waits for the second handshake message"
    WAIT_THIRD = "responder waits for the third handshake message"
    WAIT_HELLO = "encrypted; waits for the other side's Hello"
    OPEN = "both sides are known; messages flow"
    CLOSED = "over; nothing is read any more"


class Input(enum.Enum):
    """What can happen to a session."""

    NOISE = "a handshake message that could be read"
    HELLO = "a Hello that proves what it says"
    MESSAGE = "any other message"
    GOODBYE = "a Goodbye"
    EOF = "the stream ended"
    FAULT = "the other side broke a rule"
    LEAVE = "this side closes"


_MOVES: dict[tuple[State, Input], State] = {
    (State.WAIT_FIRST, Input.NOISE): State.WAIT_THIRD,
    (State.WAIT_SECOND, Input.NOISE): State.WAIT_HELLO,
    (State.WAIT_THIRD, Input.NOISE): State.WAIT_HELLO,
    (State.WAIT_HELLO, Input.HELLO): State.OPEN,
    (State.WAIT_HELLO, Input.GOODBYE): State.CLOSED,
    (State.OPEN, Input.MESSAGE): State.OPEN,
    (State.OPEN, Input.GOODBYE): State.CLOSED,
} | {
    (state, ending): State.CLOSED
    for state in State
    if state is not State.CLOSED
    for ending in (Input.EOF, Input.FAULT, Input.LEAVE)
}

MOVES: Final[Mapping[tuple[State, Input], State]] = MappingProxyType(_MOVES)
"""(state, input) → next state; a pair that is missing is a fault of the other side."""
