"""One session with a peer, without input or output: bytes go in and events come out, messages go in and bytes come out.

Rules:
- The peer's bytes are put into `room`, and `received` is told how many. Whatever they are, it returns events and raises
  nothing. The last event is Closed, with the one error that ended the session; after it all input is ignored.
- How the input is cut into calls changes nothing.
- A responder sends no byte before it has verified the first handshake message, so a stranger learns nothing.
- Who broke a rule is told so in a Goodbye if the channel is encrypted already, and not at all before.
- All that changes the state goes through the table in wire.states. No clocks: the owner of the session has them.

The byte layouts are in docs/formats/wire.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from syncfs.crypto.frames import FrameCipher
from syncfs.crypto.noise import Handshake
from syncfs.model.errors import ForeignError, RefusedError, SyncfsError, UnavailableError
from syncfs.wire.credentials import Credentials, PeerIdentity
from syncfs.wire.greeting import LONG_FRAMES, PROLOGUE, check_hello, make_hello
from syncfs.wire.inflow import Inflow
from syncfs.wire.messages import (
    ANSWERS,
    CONTROL,
    Chunks,
    ControlMessage,
    Credit,
    Goodbye,
    Hello,
    Message,
    Ping,
    Pong,
    decode_message,
    encode_message,
    short_reason,
)
from syncfs.wire.pieces import FIRST_PLAIN, MAX_PLAIN, MIN_FRAME, Buffer, Inbox, Kind, Lane, Outbox, Parcel
from syncfs.wire.states import MOVES, Input, State

TAG = 16
PREFIX = 4
MAX_FRAME = MAX_PLAIN + TAG
LARGE_FRAME = 64 * 1024
"""Larger frames are made in one buffer, one after the other."""
HANDSHAKE_BYTES = {State.WAIT_FIRST: 48, State.WAIT_SECOND: 96, State.WAIT_THIRD: 64}
"""The handshake messages have no payload, so each has one size and needs no length before it."""
_LAST_ID = 2**32 - 1

Priority = Lane


@dataclass(frozen=True, slots=True)
class HandshakeDone:
    """The peer is known; messages may be sent."""

    peer: PeerIdentity


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request (answer it with `Session.reply`) or, with id 0, a post (tell `Session.finish` when it is done with)."""

    request_id: int
    message: Message
    priority: Priority
    cost: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the request of ours with this id."""

    request_id: int
    message: Message
    attachments: list[Buffer]


@dataclass(frozen=True, slots=True)
class Ponged:
    """The peer has answered the Ping with this token."""

    token: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over: `error` says who is to blame, None that a side said goodbye in good order."""

    reason: str
    error: SyncfsError | None = None


Event = HandshakeDone | Incoming | Reply | Ponged | Closed


class Session:
    """One side of a session. `random` gives bytes fit for keys; `fresh` tells whether a first message is no repetition.

    A replayed first message could be answered once and go no further; `fresh` (see wire.replay) keeps even that from
    who has recorded one.
    """

    def __init__(
        self,
        credentials: Credentials,
        initiator: bool,
        *,
        random: Callable[[int], bytes],
        fresh: Callable[[bytes], bool] = lambda first: True,
    ) -> None:
        self.state = State.WAIT_SECOND if initiator else State.WAIT_FIRST
        self.peer: PeerIdentity | None = None
        self._frame_limit = FIRST_PLAIN
        self._frame = bytearray()
        self._credentials = credentials
        self._initiator = initiator
        self._fresh = fresh
        keys = credentials.keys
        self._handshake = Handshake(
            initiator, PROLOGUE, keys.psk0, keys.psk3, credentials.identity.noise_static, random(32)
        )
        self._plain_out: list[bytes] = [self._handshake.write()] if initiator else []
        self._inflow = Inflow()
        self._wanted = HANDSHAKE_BYTES[self.state]
        self._sender: FrameCipher | None = None
        self._receiver: FrameCipher | None = None
        self._outbox = Outbox()
        self._inbox = Inbox()
        self._next_id = 0
        self._asked: set[int] = set()
        self._serving: dict[int, Incoming] = {}
        self._ping: int | None = None
        self._pong: int | None = None
        self._farewell: Goodbye | None = None

    @property
    def closed(self) -> bool:
        """Whether the session is over; a goodbye may still have to be sent."""
        return self.state is State.CLOSED

    @property
    def queued_asks(self) -> int:
        """Bytes of our requests and posts that are not framed yet; the peer's credit may hold them back."""
        return self._outbox.queued_asks

    @property
    def queued_replies(self) -> int:
        """Bytes of our replies that are not framed yet; only the stream holds them back."""
        return self._outbox.queued_replies

    # --- what we say -----------------------------------------------------------------------------------------------

    def request(self, message: Message, priority: Priority) -> int:
        """Queue a request; its id comes back with the Reply. Raises UnavailableError if the session is not open."""
        self._require_open(priority)
        while True:
            self._next_id = self._next_id % _LAST_ID + 1
            if self._next_id not in self._asked:
                break
        self._outbox.put(priority, Kind.REQUEST, self._next_id, encode_message(message))
        self._asked.add(self._next_id)
        return self._next_id

    def post(self, message: Message, priority: Priority) -> None:
        """Queue a message that wants no answer. Raises UnavailableError if the session is not open."""
        self._require_open(priority)
        self._outbox.put(priority, Kind.POST, 0, encode_message(message))

    def reply(self, incoming: Incoming, message: Message, attachments: Sequence[Buffer] = ()) -> None:
        """Answer a request, in the lane it came in; after the end of the session this does nothing."""
        if self.state is State.OPEN and incoming.request_id in self._serving:
            self._outbox.put(incoming.priority, Kind.REPLY, incoming.request_id, encode_message(message), attachments)
            del self._serving[incoming.request_id]
            self.finish(incoming)

    def finish(self, incoming: Incoming) -> None:
        """Give the credit of a post back, once its bytes are not held any more (`reply` does that for requests)."""
        self._inbox.finished(incoming.priority, incoming.cost)

    def ping(self, token: int) -> None:
        """Ask for a Ponged event with this token."""
        self._require_open()
        self._ping = token

    def close(self, reason: str) -> None:
        """Say goodbye and be closed; what is queued is dropped, a message half sent included."""
        if not self.closed:
            self._end(Input.LEAVE, reason)

    def longer_frames(self) -> None:
        """The stream is fast: from now on frames may be twice as long, as far as the peer takes them."""
        longest = MAX_PLAIN if self.peer is not None and self.peer.version >= LONG_FRAMES else FIRST_PLAIN
        self._frame_limit = min(2 * self._frame_limit, longest)

    def shorter_frames(self) -> None:
        """The stream is slow: from now on frames are half as long, so that urgent messages wait less."""
        self._frame_limit = max(self._frame_limit // 2, MIN_FRAME)

    def data_to_send(self, budget: int = FIRST_PLAIN) -> list[Buffer]:
        """Bytes to send now, in order: whole frames until `budget` is reached; empty if there is nothing to send.

        They are to be sent before the next call, which may use their memory again.
        """
        ready: list[Buffer] = [*self._plain_out]
        self._plain_out.clear()
        if self._sender is None:
            return ready
        self._queue_control()
        size = 0
        while size < budget:
            pieces = self._outbox.next_frame(self._frame_limit)
            if not pieces:
                break
            frame = self._seal(self._sender, b"".join(pieces))
            ready.append(frame)
            size += len(frame)
            if len(frame) > LARGE_FRAME:
                break
        return ready

    def _seal(self, cipher: FrameCipher, plain: bytes) -> Buffer:
        """A frame as it travels: length of the ciphertext, which is also authenticated, and the ciphertext."""
        size = PREFIX + len(plain) + TAG
        whole = self._frame if size > LARGE_FRAME else bytearray(size)
        if size > len(whole):
            whole = self._frame = bytearray(size)
        frame = memoryview(whole)[:size]
        prefix = (size - PREFIX).to_bytes(PREFIX, "big")
        frame[:PREFIX] = prefix
        cipher.encrypt_into(plain, frame[PREFIX:], prefix)
        return frame

    # --- what we hear ----------------------------------------------------------------------------------------------

    def room(self) -> memoryview:
        """Where the next bytes of the peer are to be put; at least one."""
        return self._inflow.room(self._wanted)

    def received(self, count: int) -> list[Event]:
        """What it means that so many bytes of the peer were put at the beginning of `room`."""
        self._inflow.filled(count)
        events: list[Event] = []
        try:
            while not self.closed and self._unit_is_whole():
                self._receive_unit(self._inflow.take(self._wanted), events)
        except SyncfsError as error:
            events.append(self._fault(error))
        return events

    def receive(self, data: Buffer) -> list[Event]:
        """The same for bytes that came in a buffer of their own."""
        events: list[Event] = []
        rest = memoryview(data)
        while rest and not self.closed:
            room = self.room()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            events += self.received(count)
            rest = rest[count:]
        return events

    def receive_eof(self) -> list[Event]:
        """What it means that the peer's bytes have ended here."""
        if self.closed:
            return []
        error: SyncfsError = UnavailableError("the peer closed the connection without a goodbye")
        if self.state is State.WAIT_SECOND:
            error = RefusedError(
                "the peer hung up at the first word: it serves another share, runs another version or is no syncfs"
            )
        self._end(Input.EOF, None)
        return [Closed(str(error), error)]

    def _unit_is_whole(self) -> bool:
        """Whether the next handshake message or frame is here; `_wanted` is its size once that is known."""
        if len(self._inflow) < self._wanted:
            return False
        if self.state not in HANDSHAKE_BYTES and self._wanted == PREFIX:
            size = int.from_bytes(self._inflow.peek(PREFIX), "big")
            if not TAG < size <= MAX_FRAME:
                raise ForeignError(f"a peer sent a frame of {size} bytes, more or less than a frame can have")
            self._wanted = PREFIX + size
        return len(self._inflow) >= self._wanted

    def _receive_unit(self, unit: memoryview, events: list[Event]) -> None:
        if self._receiver is None:
            self._receive_handshake(bytes(unit))
        else:
            plain = self._receiver.decrypt(unit[PREFIX:], unit[:PREFIX])
            for parcel in self._inbox.receive_frame(plain):
                self._receive_parcel(parcel, events)
                if self.closed:
                    break
        self._wanted = HANDSHAKE_BYTES.get(self.state, PREFIX)

    def _receive_handshake(self, message: bytes) -> None:
        handshake = self._handshake
        handshake.read(message)
        if self.state is State.WAIT_FIRST and not self._fresh(message):
            raise ForeignError("somebody repeated the first message of an earlier handshake")
        if handshake.my_turn:
            self._plain_out.append(handshake.write())
        self._move(Input.NOISE)
        if handshake.finished:
            there, back = handshake.split()
            self._sender = FrameCipher(there if self._initiator else back)
            self._receiver = FrameCipher(back if self._initiator else there)
            self._put_control(make_hello(self._credentials, handshake.hash, self._initiator))

    def _receive_parcel(self, parcel: Parcel, events: list[Event]) -> None:
        message = decode_message(parcel.head)
        if isinstance(message, CONTROL) != (parcel.lane is Lane.CONTROL):
            raise ForeignError("a peer sent a message in a lane that is not for it")
        if isinstance(message, CONTROL):
            if parcel.kind is not Kind.POST or parcel.id:
                raise ForeignError("a peer sent a control message as a request")
            self._receive_control(message, events)
            return
        self._move(Input.MESSAGE)
        if parcel.kind is Kind.REPLY:
            self._receive_reply(parcel, message, events)
            return
        if isinstance(message, ANSWERS):
            raise ForeignError("a peer sent an answer that nobody had asked for")
        if (parcel.kind is Kind.REQUEST) != bool(parcel.id) or parcel.id in self._serving:
            raise ForeignError("a peer used the number of a request twice")
        incoming = Incoming(parcel.id, message, parcel.lane, parcel.cost)
        if parcel.id:
            self._serving[parcel.id] = incoming
        events.append(incoming)

    def _receive_reply(self, parcel: Parcel, message: Message, events: list[Event]) -> None:
        if parcel.id not in self._asked:
            raise ForeignError("a peer answered a request that was not open")
        expected = len(message.found) if isinstance(message, Chunks) else 0
        if len(parcel.attachments) != expected:
            raise ForeignError("a peer sent an answer with attachments that do not fit it")
        self._asked.remove(parcel.id)
        events.append(Reply(parcel.id, message, parcel.attachments))

    def _receive_control(self, message: ControlMessage, events: list[Event]) -> None:
        match message:
            case Hello():
                self._check_move(Input.HELLO)
                self.peer = check_hello(self._credentials, message, self._handshake.hash, not self._initiator)
                self._move(Input.HELLO)
                events.append(HandshakeDone(self.peer))
            case Goodbye(reason):
                during_greeting = self.state is State.WAIT_HELLO
                self._move(Input.GOODBYE)
                error = RefusedError(f"the peer refused us: {reason}") if during_greeting else None
                events.append(Closed(reason, error))
            case Ping(token):
                self._move(Input.MESSAGE)
                # One slot is enough: who pings again before reading the answer wants only the last one.
                self._pong = token
            case Pong(token):
                self._move(Input.MESSAGE)
                events.append(Ponged(token))
            case Credit(lane, amount):
                self._move(Input.MESSAGE)
                self._outbox.add_credit(Lane(lane), amount)

    # --- the end, and the small change -----------------------------------------------------------------------------

    def _move(self, what: Input) -> None:
        self._check_move(what)
        self.state = MOVES[self.state, what]

    def _check_move(self, what: Input) -> None:
        if (self.state, what) not in MOVES:
            raise ForeignError("a peer spoke out of turn")

    def _require_open(self, priority: Priority = Priority.NORMAL) -> None:
        if priority is Priority.CONTROL:
            raise ValueError("the control lane is the session's own")
        if self.state is not State.OPEN:
            raise UnavailableError("the connection to the peer has ended")

    def _fault(self, error: SyncfsError) -> Closed:
        self._end(Input.FAULT, str(error))
        return Closed(str(error), error)

    def _end(self, how: Input, farewell: str | None) -> None:
        self._move(how)
        self._plain_out.clear()
        self._outbox.clear()
        self._inflow = Inflow()
        self._inbox = Inbox()
        self._asked.clear()
        self._serving.clear()
        self._ping = self._pong = None
        if farewell is not None and self._sender is not None:
            self._put_control(Goodbye(short_reason(farewell)))

    def _queue_control(self) -> None:
        if self.state is not State.OPEN:
            return
        if self._ping is not None:
            self._put_control(Ping(self._ping))
        if self._pong is not None:
            self._put_control(Pong(self._pong))
        self._ping = self._pong = None
        for lane, amount in self._inbox.owed():
            self._put_control(Credit(lane, amount))

    def _put_control(self, message: ControlMessage) -> None:
        self._outbox.put(Lane.CONTROL, Kind.POST, 0, encode_message(message))
