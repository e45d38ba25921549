"""How messages are cut into pieces and pieces packed into frames, and back; limits on everything that is half there.

Rules:
- Four lanes, CONTROL before URGENT before NORMAL before BULK. Each frame is filled from the first lane that has
  something, so a message overtakes all of lower lanes at the next frame.
- Within a lane and direction one message is sent at a time, so a receiver never holds more than one half of a message
  for each lane.
- Requests and posts cost credit of their lane (their size and COST); the receiver gives it back when it has finished
  with them. Replies cost none: who asked has room for the answer. Replies pass requests that wait for credit, so two
  sides that are both out of credit cannot block each other.
- Nothing here knows of keys, states or time.

A frame's plaintext is a sequence of pieces: u8 flags, u24 length, then so many bytes. The first piece of a message
begins with its prelude: u8 kind, u32 request id, u32 head length, u16 attachments, u32 size of each; all big endian.
"""

import enum
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from syncfs.model.errors import ForeignError
from syncfs.wire.messages import KIB, MAX_GET

MIB = 1024 * KIB
MAX_PLAIN = MIB + 4 * KIB
"""Bytes of pieces in one frame: the largest chunk, sealed, with what goes before it."""
FIRST_PLAIN = 256 * KIB
"""Bytes of pieces in a frame while it is not known how fast the stream is, and that the peer takes longer ones."""
MAX_HEAD_BYTES = MIB
"""msgpack bytes of one message."""
MAX_REQUEST = 2 * MIB
"""Bytes of one request or post, prelude included."""
MAX_ATTACHED = 9 * MIB
"""Bytes of all attachments of one reply: eight chunks of the largest size, sealed, with room to spare."""
MAX_REPLY = MAX_HEAD_BYTES + MAX_ATTACHED + 8 * KIB
MAX_CONTROL = 16 * KIB
WINDOW = 4 * MIB
"""Credit of each lane: the bytes of requests and posts that the receiver has not finished with."""
COST = KIB
"""What a request costs besides its bytes, so that very many tiny ones are bounded too (4,096 for each lane)."""
KEEP_VIEW = 16 * KIB
"""A smaller piece of a half-received message is copied out of its frame."""
MIN_FRAME = 16 * KIB
"""No frame limit may be smaller, so that the prelude of a message always fits into one piece."""

_PIECE = struct.Struct(">I")
_PRELUDE = struct.Struct(">BIIH")
_LANE_MASK = 0x03
_FIRST = 0x04
_LAST = 0x08
_KNOWN_FLAGS = _LANE_MASK | _FIRST | _LAST

Buffer = bytes | bytearray | memoryview


class Lane(enum.IntEnum):
    """What goes first; the session's own messages always do."""

    CONTROL = 0
    URGENT = 1
    NORMAL = 2
    BULK = 3


LANES = tuple(Lane)


class Kind(enum.IntEnum):
    """What a message is to its receiver."""

    POST = 0
    REQUEST = 1
    REPLY = 2


@dataclass(frozen=True, slots=True)
class Parcel:
    """One whole message as it was received, not yet decoded; `cost` is the credit to give back, 0 for a reply."""

    lane: Lane
    kind: Kind
    id: int
    head: bytes
    attachments: list[Buffer]
    cost: int


@dataclass(slots=True)
class _Outgoing:
    kind: Kind
    buffers: list[Buffer]
    prelude: int
    left: int
    cost: int
    started: bool = False


@dataclass(slots=True)
class _OutLane:
    credit: int = WINDOW
    current: _Outgoing | None = None
    replies: deque[_Outgoing] = field(default_factory=deque)
    asks: deque[_Outgoing] = field(default_factory=deque)

    def head(self) -> _Outgoing | None:
        """The message to send from now, starting the next one if its credit allows."""
        if self.current is None:
            if self.asks and self.asks[0].cost <= self.credit:
                self.current = self.asks.popleft()
                self.credit -= self.current.cost
            elif self.replies:
                self.current = self.replies.popleft()
        return self.current


class Outbox:
    """The messages that wait to be sent, and the frames they become.

    `queued_asks` and `queued_replies` count the bytes of requests and posts, and of replies, that are not framed yet.
    """

    def __init__(self) -> None:
        self.queued_asks = 0
        self.queued_replies = 0
        self._lanes = tuple(_OutLane() for _ in LANES)

    def put(self, lane: Lane, kind: Kind, id: int, head: bytes, attachments: Sequence[Buffer] = ()) -> None:
        """Queue a message. Its attachments are kept by reference until they are sent. Raises ValueError if too big."""
        sizes = [len(attachment) for attachment in attachments]
        prelude = _PRELUDE.pack(kind, id, len(head), len(sizes)) + struct.pack(f">{len(sizes)}I", *sizes)
        total = len(prelude) + len(head) + sum(sizes)
        if total > _limit(lane, kind) or len(head) > MAX_HEAD_BYTES or len(sizes) > MAX_GET:
            raise ValueError(f"a message of {total} bytes is too long for its kind")
        costs = lane is not Lane.CONTROL and kind is not Kind.REPLY
        buffers = [prelude + head, *(attachment for attachment in attachments if len(attachment))]
        outgoing = _Outgoing(kind, buffers, len(prelude), total, total + COST if costs else 0)
        out = self._lanes[lane]
        (out.replies if kind is Kind.REPLY else out.asks).append(outgoing)
        self._count(kind, total)

    def add_credit(self, lane: Lane, amount: int) -> None:
        """The receiver has finished with so many bytes. Raises ForeignError if it never had so many."""
        out = self._lanes[lane]
        if out.credit + amount > WINDOW:
            raise ForeignError("a peer gave back more credit than it had been sent")
        out.credit += amount

    def clear(self) -> None:
        """Forget all that is not sent yet, the rest of half-sent messages included: the link ends."""
        self.queued_asks = self.queued_replies = 0
        self._lanes = tuple(_OutLane() for _ in LANES)

    def next_frame(self, limit: int = MAX_PLAIN) -> list[Buffer]:
        """The pieces of the next frame, to be joined: at most `limit` bytes; empty if nothing can be sent now."""
        frame: list[Buffer] = []
        room = limit
        for lane in LANES:
            out = self._lanes[lane]
            while (message := out.head()) is not None:
                first = 0 if message.started else _FIRST
                if room < _PIECE.size + (message.prelude if first else 1):
                    return frame
                if first and room < _PIECE.size + message.left <= limit:
                    return frame  # in the next one it lies in one piece, which its receiver need not copy
                size = min(message.left, room - _PIECE.size)
                last = _LAST if size == message.left else 0
                frame.append(_PIECE.pack((lane | first | last) << 24 | size))
                frame.extend(_take(message.buffers, size))
                message.started = True
                message.left -= size
                self._count(message.kind, -size)
                room -= _PIECE.size + size
                if not last:
                    return frame
                out.current = None
        return frame

    def _count(self, kind: Kind, size: int) -> None:
        if kind is Kind.REPLY:
            self.queued_replies += size
        else:
            self.queued_asks += size


def _take(buffers: list[Buffer], size: int) -> Iterator[Buffer]:
    """Move `size` bytes off the front of a list of buffers, without copying."""
    done = 0
    for number, buffer in enumerate(buffers):
        if len(buffer) > size:
            view = memoryview(buffer)
            buffers[number] = view[size:]
            if size:
                yield view[:size]
            break
        yield buffer
        size -= len(buffer)
        done += 1
        if not size:
            break
    del buffers[:done]


def _limit(lane: Lane, kind: Kind) -> int:
    if lane is Lane.CONTROL:
        return MAX_CONTROL
    return MAX_REPLY if kind is Kind.REPLY else MAX_REQUEST


@dataclass(slots=True)
class _Incoming:
    kind: Kind
    id: int
    head: int
    sizes: tuple[int, ...]
    missing: int
    cost: int
    parts: list[memoryview | bytearray] = field(default_factory=list)

    def keep(self, piece: memoryview, frame_size: int) -> None:
        """Store a piece, so that neither a small one keeps a large frame nor many tiny ones many objects in memory."""
        if len(piece) >= KEEP_VIEW and len(piece) * 2 >= frame_size:
            self.parts.append(piece)
        elif self.parts and isinstance(self.parts[-1], bytearray):
            self.parts[-1] += piece
        else:
            self.parts.append(bytearray(piece))


class Inbox:
    """Puts the pieces of received frames together. Raises ForeignError on whatever breaks the rules above."""

    def __init__(self) -> None:
        self._half: list[_Incoming | None] = [None] * len(LANES)
        self._credit = [WINDOW] * len(LANES)
        self._owed = [0] * len(LANES)

    def finished(self, lane: Lane, cost: int) -> None:
        """The receiver has finished with a request or post that cost so much."""
        self._owed[lane] += cost

    def owed(self) -> list[tuple[Lane, int]]:
        """The credit to give back now, where it is worth a message; it counts as given."""
        due = [(lane, self._owed[lane]) for lane in LANES if self._owed[lane] >= WINDOW // 4]
        for lane, amount in due:
            self._owed[lane] = 0
            self._credit[lane] += amount
        return due

    def receive_frame(self, plain: bytes) -> Iterable[Parcel]:
        """The messages that end in this frame, in order."""
        view = memoryview(plain)
        position, end = 0, len(view)
        if not end:
            raise ForeignError("a peer sent an empty frame")
        while position < end:
            if end - position < _PIECE.size:
                raise ForeignError("a peer sent a piece that is cut short")
            (word,) = _PIECE.unpack_from(view, position)
            flags, size = word >> 24, word & 0xFFFFFF
            position += _PIECE.size
            if flags & ~_KNOWN_FLAGS or not 0 < size <= end - position:
                raise ForeignError("a peer sent a piece with an impossible header")
            parcel = self._receive_piece(flags, view[position : position + size], len(plain))
            position += size
            if parcel is not None:
                yield parcel

    def _receive_piece(self, flags: int, piece: memoryview, frame_size: int) -> Parcel | None:
        lane = LANES[flags & _LANE_MASK]
        half = self._half[lane]
        if bool(flags & _FIRST) != (half is None):
            raise ForeignError("a peer mixed the pieces of two messages")
        if half is None:
            half, piece = self._begin(lane, piece)
        last = bool(flags & _LAST)
        if len(piece) > half.missing or last != (len(piece) == half.missing):
            raise ForeignError("a peer sent a message that is not as long as it said")
        half.missing -= len(piece)
        if not last:
            if lane is Lane.CONTROL:
                raise ForeignError("a peer cut a control message in two")
            half.keep(piece, frame_size)
            self._half[lane] = half
            return None
        half.parts.append(piece)
        self._half[lane] = None
        return _assemble(lane, half)

    def _begin(self, lane: Lane, piece: memoryview) -> tuple[_Incoming, memoryview]:
        if len(piece) < _PRELUDE.size:
            raise ForeignError("a peer sent a message without a whole prelude")
        kind_number, id, head, count = _PRELUDE.unpack_from(piece)
        start = _PRELUDE.size + 4 * count
        if kind_number > Kind.REPLY or count > MAX_GET or len(piece) < start:
            raise ForeignError("a peer sent a message with an impossible prelude")
        kind = Kind(kind_number)
        sizes: tuple[int, ...] = struct.unpack_from(f">{count}I", piece, _PRELUDE.size)
        total = start + head + sum(sizes)
        if not head or head > MAX_HEAD_BYTES or total > _limit(lane, kind) or (count and kind is not Kind.REPLY):
            raise ForeignError("a peer sent a message that is too long for its kind")
        cost = 0
        if lane is not Lane.CONTROL and kind is not Kind.REPLY:
            cost = total + COST
            if cost > self._credit[lane]:
                raise ForeignError("a peer sent more than it had credit for")
            self._credit[lane] -= cost
        return _Incoming(kind, id, head, sizes, total - start, cost), piece[start:]


def _assemble(lane: Lane, whole: _Incoming) -> Parcel:
    parts: list[Buffer] = list(whole.parts)
    head = b"".join(_take(parts, whole.head))
    attachments = [_joined(list(_take(parts, size))) if size else b"" for size in whole.sizes]
    return Parcel(lane, whole.kind, whole.id, head, attachments, whole.cost)


def _joined(parts: list[Buffer]) -> Buffer:
    """One attachment; not copied where it is most of one frame, so that no little keeps much in memory."""
    match parts:
        case [memoryview(obj=bytes(frame)) as whole] if 2 * len(whole) >= len(frame):
            return whole
    return b"".join(parts)
