"""The table of states: whole, drawn in the docs, and never left whatever comes in."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from syncfs.model.errors import UnavailableError
from syncfs.wire.messages import Announce, Chunks, Done, Get, Goodbye, Have, Hello, Ping, encode_message
from syncfs.wire.pieces import Kind, Lane
from syncfs.wire.session import Closed, HandshakeDone, Incoming, Reply, Session
from syncfs.wire.states import MOVES, Input, State

from .people import Pair, opened, pair, person

ROOT = Path(__file__).resolve().parents[2]
HELLO = Hello([1], bytes(32), bytes(64), "writer", b"")


def test_the_picture_in_the_docs_is_that_of_the_table():
    subprocess.run([sys.executable, str(ROOT / "scripts" / "draw-states"), "--check"], check=True)


def test_every_state_can_end_and_be_reached():
    for state in State:
        if state is not State.CLOSED:
            assert all(MOVES[state, ending] is State.CLOSED for ending in (Input.EOF, Input.FAULT, Input.LEAVE))
    assert set(MOVES.values()) | {State.WAIT_FIRST, State.WAIT_SECOND} == set(State)
    assert not any(state is State.CLOSED for state, _ in MOVES)


def in_state(state: State) -> tuple[Session, Session | None]:
    """A session in this state, and the honest one at its other end where frames can be exchanged already."""
    two = pair()
    if state is State.WAIT_FIRST:
        return two.right, None
    if state is State.WAIT_SECOND:
        return two.left, None
    two.right.receive(two.left.data_to_send()[0])
    if state is State.WAIT_THIRD:
        return two.right, None
    two.left.receive(two.right.data_to_send()[0])
    if state is State.WAIT_HELLO:
        third, _hello = two.left.data_to_send()
        two.right.receive(third)
        two.right.data_to_send()
        return two.right, two.left
    done = opened()
    if state is State.CLOSED:
        done.left.close("over")
        done.left.data_to_send()
    return done.left, done.right


MESSAGES = {
    Input.HELLO: HELLO,
    Input.MESSAGE: Ping(1),
    Input.GOODBYE: Goodbye("bye"),
}


@pytest.mark.parametrize("what", [what for what in Input if what is not Input.NOISE], ids=lambda what: what.name)
@pytest.mark.parametrize("state", list(State), ids=lambda state: state.name)
def test_each_input_in_each_state(state, what):
    session, other = in_state(state)
    assert session.state is state
    if what is Input.EOF:
        events = session.receive_eof()
    elif what is Input.LEAVE:
        session.close("leaving")
        events = []
    elif what is Input.FAULT or other is None or other._sender is None:
        events = session.receive(b"\xff" * 200)
    else:
        # The other end's own outbox holds nothing else, so these bytes are one frame with this message.
        other._outbox.clear()
        other.state = State.OPEN
        other._outbox.put(Lane.CONTROL, Kind.POST, 0, encode_message(MESSAGES[what]))
        (frame,) = other.data_to_send()
        events = session.receive(bytes(frame))
    expected = MOVES.get((state, what), State.CLOSED)
    if what is Input.HELLO:
        expected = State.CLOSED  # this Hello proves nothing
    assert session.state is expected
    assert sum(isinstance(event, Closed) for event in events) <= 1
    if state is State.CLOSED:
        assert events == []
    with_error = [event for event in events if isinstance(event, Closed) and event.error is not None]
    if (state, what) not in MOVES and state is not State.CLOSED:
        assert len(with_error) == 1


class TwoSessions(RuleBasedStateMachine):
    """A random walk: messages, delivery in any portions, pings, ends and damage, in any order.

    Always: nothing raises, replies answer requests that were made, each side hears one end at most, and what an honest
    pair has queued arrives.
    """

    def __init__(self) -> None:
        super().__init__()
        self.two: Pair = pair(person("ann"), person("bob"))
        self.wire = {"left": bytearray(), "right": bytearray()}
        self.events: dict[str, list[object]] = {"left": [], "right": []}
        self.asked: dict[str, set[int]] = {"left": set(), "right": set()}

    def side(self, name: str) -> Session:
        return self.two.left if name == "left" else self.two.right

    sides = st.sampled_from(["left", "right"])
    lanes = st.sampled_from([Lane.URGENT, Lane.NORMAL, Lane.BULK])

    @rule(name=sides, lane=lanes, count=st.integers(1, 3))
    def ask(self, name, lane, count):
        try:
            self.asked[name].add(self.side(name).request(Get([bytes(32)] * count), lane))
        except UnavailableError:
            assert self.side(name).state is not State.OPEN

    @rule(name=sides, lane=lanes, size=st.sampled_from([1, 1000, 400_000]))
    def post(self, name, lane, size):
        try:
            self.side(name).post(Announce([bytes(size)]) if size > 1 else Have({}), lane)
        except UnavailableError:
            assert self.side(name).state is not State.OPEN

    @rule(name=sides)
    def ping(self, name):
        if self.side(name).state is State.OPEN:
            self.side(name).ping(3)

    @rule(name=sides, size=st.sampled_from([0, 10, 100_000, 2_000_000]))
    def answer(self, name, size):
        for event in [event for event in self.events[name] if isinstance(event, Incoming)]:
            self.events[name].remove(event)
            if event.request_id:
                self.side(name).reply(event, Chunks([bytes(32)]) if size else Done(), [bytes(size)] if size else ())
            else:
                self.side(name).finish(event)

    @rule(name=sides)
    def pull(self, name):
        for data in self.side(name).data_to_send(1):
            self.wire[name] += data

    @rule(name=sides, portion=st.sampled_from([1, 50, 5_000, 300_000, 10**9]))
    def deliver(self, name, portion):
        other = "right" if name == "left" else "left"
        data = bytes(self.wire[name][:portion])
        del self.wire[name][:portion]
        for event in self.side(other).receive(data):
            self.events[other].append(event)
            if isinstance(event, Reply):
                self.asked[other].remove(event.request_id)

    @precondition(lambda self: len(self.wire["left"]) > 100)
    @rule(position=st.integers(0, 99))
    def damage(self, position):
        self.wire["left"][position] ^= 0x40

    @rule(name=sides, how=st.sampled_from(["close", "eof", "neither", "neither", "neither", "neither"]))
    def end(self, name, how):
        if how == "close":
            self.side(name).close("as asked")
        elif how == "eof":
            self.events[name] += self.side(name).receive_eof()

    @invariant()
    def at_most_one_end(self):
        for name in ("left", "right"):
            assert sum(isinstance(event, Closed) for event in self.events[name]) <= 1
            assert sum(isinstance(event, HandshakeDone) for event in self.events[name]) <= 1
            closed = [event for event in self.events[name] if isinstance(event, Closed)]
            if closed:
                assert self.side(name).state is State.CLOSED
                assert closed[0].reason.isprintable()


TestTwoSessions = TwoSessions.TestCase
TestTwoSessions.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
