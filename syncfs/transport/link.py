"""The one driver between a wire session and a stream: reads, writes, serves, keeps alive, and always closes.

Rules:
- run_link owns its stream and all its tasks: whatever happens, both are gone when it ends.
- The reader never waits for the writer, so two sides with full buffers cannot block each other. Requests of the peer
  wait in a queue that its credit bounds (4 MiB for each lane), and are served, the most urgent first, while what is
  being served and what waits to be sent stays below SERVING_BUDGET.
- One frame at a time is taken from the session, so that what is urgent overtakes at the next frame.
- One error ends a link, and everybody who waits for an answer is told.

Memory of one link, at worst: 12 MiB of requests, 34 MiB of half-received messages, 3 MiB of frames,
SERVING_BUDGET and one reply of what is being served and sent, MAX_BACKLOG of posts; a healthy link uses a few hundred
KiB, and 2 MiB once large chunks have passed.
"""

import logging
import math
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import trio

from syncfs.model.errors import RefusedError, SyncfsError, UnavailableError
from syncfs.transport.streams import Stream, receive_into
from syncfs.wire.credentials import Credentials, PeerIdentity
from syncfs.wire.messages import KIB, Done, Get, Message, Refused, short_reason
from syncfs.wire.pieces import MAX_ATTACHED, MIB, Buffer
from syncfs.wire.session import Closed, Event, HandshakeDone, Incoming, Ponged, Priority, Reply, Session
from syncfs.wire.states import State

HANDSHAKE_LIMIT = 10.0
PING_EVERY = 15.0
DEAD_AFTER = 45.0
LINGER = 1.0
"""Seconds for the last words of a link to reach the peer."""
DISCARD_BYTES = 64 * KIB
SERVING_BUDGET = 32 * MIB
MAX_BACKLOG = 32 * MIB
MAX_OPEN_REQUESTS = 4096
SLOW_FRAME = 0.1
FAST_FRAME = 0.02
"""A frame that takes longer, or less, than these seconds makes the next frames smaller, or larger."""

Answer = tuple[Message, Sequence[Buffer]]
Serve = Callable[["Link", Message], Awaitable[Answer | None]]
OnOpen = Callable[["Link"], Awaitable[None] | None]

_log = logging.getLogger(__name__)


class Link:
    """An open, authenticated connection to one peer."""

    def __init__(self, session: Session, stream: Stream, peer: PeerIdentity, serve: Serve) -> None:
        self.peer = peer
        self.latency: float | None = None
        """Seconds from the last Ping to its Pong."""
        self.bytes_in = 0
        self.bytes_out = 0
        self.answers = 0
        """Answers that have come, also those that nobody waited for any more."""
        self._session = session
        self._stream = stream
        self._serve_message = serve
        self._scope = trio.CancelScope()
        self._outcome: Closed | None = None
        self._bug: BaseException | None = None
        self._waiting: dict[int, Asked] = {}
        self._queue: tuple[deque[Incoming], ...] = tuple(deque() for _ in Priority)
        self._serving = 0
        self._work = trio.Event()
        self._sending = False
        self._frame_scope = trio.CancelScope()
        self._heard = trio.current_time()
        self._pinged = math.nan
        self._token = 0

    @property
    def backlog(self) -> int:
        """Bytes of our requests and posts that wait to be sent."""
        return self._session.queued_asks

    @property
    def closed(self) -> bool:
        """Whether the link is over."""
        return self._session.closed

    @property
    def failure(self) -> SyncfsError | None:
        """Why the link ended, where that was not in good order."""
        return self._outcome.error if self._outcome is not None else None

    async def request(self, message: Message, *, priority: Priority = Priority.NORMAL, timeout: float = 30.0) -> Reply:
        """Ask the peer, and wait for its answer for `timeout` seconds.

        Raises UnavailableError if the link ends or the time passes, RefusedError if the peer refuses.
        """
        with self.ask(message, priority) as asked:
            return await asked.answer(timeout)

    @contextmanager
    def ask(self, message: Message, priority: Priority = Priority.NORMAL) -> Iterator["Asked"]:
        """Ask the peer; inside the block its answer can be waited for."""
        asked = Asked(self.peer.name)
        if len(self._waiting) >= MAX_OPEN_REQUESTS:
            asked.ends(f"{self.peer.name} leaves too many requests without an answer")
            yield asked
            return
        number = self._session.request(message, priority)
        self._waiting[number] = asked
        self._wake()
        try:
            yield asked
        finally:
            self._waiting.pop(number, None)

    def post(self, message: Message, priority: Priority = Priority.NORMAL) -> None:
        """Queue a message that wants no answer; never waits. On a link that is over it does nothing.

        A peer that leaves MAX_BACKLOG bytes unread loses the link: it catches up when it comes back.
        """
        if self._session.closed:
            return
        if self._session.queued_asks > MAX_BACKLOG:
            self._end(UnavailableError(f"{self.peer.name} reads too slowly to follow"))
            return
        self._session.post(message, priority)
        self._wake()

    def close(self, reason: str) -> None:
        """Say goodbye and end the link; run_link returns soon after."""
        if not self._session.closed:
            self._session.close(reason)
            self._finish(Closed(reason))

    # --- inside run_link -------------------------------------------------------------------------------------------

    async def run(self, on_open: OnOpen, early: Sequence[Event]) -> str:
        """Drive the link until it ends; the reason if it ended in good order. `early` came with the handshake."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    try:
                        opening = on_open(self)
                    except Exception as error:
                        self._fail(error)
                    else:
                        if opening is not None:
                            nursery.start_soon(self._guard, opening)
                    self._handle(early)
                    for task in (self._read, self._write, self._watch):
                        nursery.start_soon(self._guard, task())
        finally:
            self._session.close("this peer is going away")
            self._tell_waiters()
            with trio.move_on_after(LINGER, shield=True):
                await self._farewell()
        if self._bug is not None:
            raise self._bug
        outcome = self._outcome or Closed("the link has ended")
        if outcome.error is not None:
            raise outcome.error
        return outcome.reason

    async def _guard(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        match error:
            case SyncfsError():
                self._end(error)
            case trio.BrokenResourceError() | trio.ClosedResourceError():
                self._end(UnavailableError("the connection to the peer broke"))
            case ExceptionGroup() if (first := _only_ours(error)) is not None:
                self._end(first)
            case _:
                self._bug = self._bug or error
                self._end(UnavailableError("the link met an internal error: see the log"))

    def _end(self, error: SyncfsError) -> None:
        self._session.close(str(error))
        self._finish(Closed(str(error), error))

    def _finish(self, outcome: Closed) -> None:
        self._outcome = self._outcome or outcome
        self._tell_waiters()
        self._scope.cancel()

    def _wake(self) -> None:
        self._work.set()

    async def _read(self) -> None:
        while not self._session.closed:
            count = await receive_into(self._stream, self._session.room())
            self.bytes_in += count
            self._heard = trio.current_time()
            self._handle(self._session.received(count) if count else self._session.receive_eof())
            self._wake()

    async def _write(self) -> None:
        session = self._session
        while not session.closed:
            data = session.data_to_send(1)
            if not data:
                self._work = trio.Event()
                await self._work.wait()
                continue
            self._serve_more()
            started = trio.current_time()
            self._sending = True
            # A frame that is cut makes all that follow unreadable, the goodbye too, so whoever cancels waits for it.
            with trio.CancelScope(shield=True) as self._frame_scope:
                for frame in data:
                    await self._stream.send_all(frame)
                    self.bytes_out += len(frame)
                self._sending = False
            taken = trio.current_time() - started
            if taken > SLOW_FRAME:
                session.shorter_frames()
            elif taken < FAST_FRAME:
                session.longer_frames()

    async def _watch(self) -> None:
        due = trio.current_time()
        try:
            while not self._session.closed:
                now = trio.current_time()
                if now >= self._heard + DEAD_AFTER:
                    raise UnavailableError(f"nothing was heard of {self.peer.name} for {DEAD_AFTER:g} seconds")
                if now >= due:
                    due = now + PING_EVERY
                    self._token += 1
                    self._pinged = now
                    self._session.ping(self._token)
                    self._wake()
                await trio.sleep_until(min(due, self._heard + DEAD_AFTER))
        finally:
            # This task ends first whatever ends the link; the frame under way has LINGER to go out whole.
            self._frame_scope.deadline = trio.current_time() + LINGER

    def _handle(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case Incoming():
                    self._queue[event.priority].append(event)
                case Reply(request_id):
                    self.answers += 1
                    asked = self._waiting.pop(request_id, None)
                    # Nobody waits any more for an answer that is late; that is no fault of the peer.
                    if asked is not None:
                        asked.replied(event)
                case Ponged(token):
                    if token == self._token:
                        self.latency = trio.current_time() - self._pinged
                case Closed():
                    self._finish(event)
        self._serve_more()

    def _serve_more(self) -> None:
        for queue in self._queue:
            while queue and self._serving + self._session.queued_replies < SERVING_BUDGET:
                incoming = queue.popleft()
                size = _estimate(incoming.message)
                self._serving += size
                self._nursery.start_soon(self._serve, incoming, size)

    async def _serve(self, incoming: Incoming, size: int) -> None:
        try:
            self._answer(incoming, *(await self._serve_message(self, incoming.message) or (Done(), ())))
        except SyncfsError as error:
            self._answer(incoming, Refused(short_reason(str(error))))
        except Exception:
            _log.exception("serving %s to %s failed", type(incoming.message).__name__, self.peer.name)
            self._answer(incoming, Refused("the peer met an internal error: see its log"))
        finally:
            self._serving -= size
        self._wake()
        self._serve_more()

    def _answer(self, incoming: Incoming, message: Message, attachments: Sequence[Buffer] = ()) -> None:
        if incoming.request_id:
            self._session.reply(incoming, message, attachments)
        else:
            self._session.finish(incoming)

    def _tell_waiters(self) -> None:
        reason = self._outcome.reason if self._outcome else "this peer is going away"
        for asked in self._waiting.values():
            asked.ends(f"the connection to {self.peer.name} ended: {reason}")
        self._waiting.clear()

    async def _farewell(self) -> None:
        # After half a frame no further one can be read, so there is nothing left to say.
        if not self._sending:
            await say_last_words(self._session, self._stream)


class Asked:
    """A question to a peer, and what has become of it."""

    __slots__ = ("_done", "_name", "_problem", "_reply", "began")

    def __init__(self, name: str) -> None:
        self._name = name
        self.began = trio.current_time()
        self._done = trio.Event()
        self._reply: Reply | None = None
        self._problem = ""

    async def came(self, seconds: float) -> bool:
        """Wait until it is known what has become of it, at most so long since it was asked; whether it is."""
        with trio.move_on_at(self.began + seconds):
            await self._done.wait()
        return self._done.is_set()

    async def answer(self, seconds: float) -> Reply:
        """The answer, which may come within so many seconds of the question.

        Raises UnavailableError if the link ends or the time passes, RefusedError if the peer refuses.
        """
        await self.came(seconds)
        if self._reply is None:
            raise UnavailableError(self._problem or f"{self._name} did not answer within {seconds:g} seconds")
        if isinstance(self._reply.message, Refused):
            raise RefusedError(f"{self._name} refused: {self._reply.message.reason}")
        return self._reply

    def replied(self, reply: Reply) -> None:
        """The answer came."""
        self._reply = reply
        self._done.set()

    def ends(self, problem: str) -> None:
        """There will be none."""
        self._problem = problem
        self._done.set()


def _only_ours(group: ExceptionGroup[Exception]) -> SyncfsError | None:
    """One of the errors in a group that a nursery made, if all of them are errors of syncfs."""
    ours, others = group.split(SyncfsError)
    first: BaseException | None = ours
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first if others is None and isinstance(first, SyncfsError) else None


def _estimate(message: Message) -> int:
    """Bytes that the answer to this message may have."""
    return min(len(message.addresses) * MIB, MAX_ATTACHED) if isinstance(message, Get) else 64 * KIB


async def say_last_words(session: Session, stream: Stream) -> None:
    """Send what a closed session still has to say, and wait for the peer to hang up so that it can read it."""
    last_words = b"".join(session.data_to_send())
    if last_words:
        try:
            await stream.send_all(last_words)
            await stream.send_eof()
            while await stream.receive_some(DISCARD_BYTES):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


async def run_link(
    stream: Stream,
    credentials: Credentials,
    initiator: bool,
    serve: Serve,
    on_open: OnOpen,
    *,
    address: str,
    path: str,
    fresh: Callable[[bytes], bool] = lambda first: True,
) -> str:
    """Run one link over a stream, from the handshake to the end; the stream is closed whatever happens.

    `serve` answers each message of the peer: None is Done, a SyncfsError becomes a Refused; many calls run at once and
    in no fixed order. `on_open` is called once the peer is known, before any message is served; what it returns is
    awaited beside the link and cancelled with it.
    `fresh` refuses repeated first messages (see wire.replay). The result is the reason of an end in good order.

    Raises RefusedError (no member, or not who it must be), ForeignError (broke the protocol), UnavailableError (broke,
    silent, too slow), and whatever unexpected `on_open` raises.
    """
    try:
        session = Session(credentials, initiator, random=secrets.token_bytes, fresh=fresh)
        early = await _shake_hands(session, stream)
        if session.peer is None:
            raise UnavailableError("the peer is not known after the handshake")
        link = Link(session, stream, replace(session.peer, address=address, path=path), serve)
        return await link.run(on_open, early)
    finally:
        await trio.aclose_forcefully(stream)


async def _shake_hands(session: Session, stream: Stream) -> list[Event]:
    """Bring the session to OPEN; the events that came with the last message."""
    events: list[Event] = []
    try:
        with trio.fail_after(HANDSHAKE_LIMIT):
            while session.state is not State.OPEN:
                for data in session.data_to_send():
                    await stream.send_all(data)
                count = await receive_into(stream, session.room())
                events = session.received(count) if count else session.receive_eof()
                for event in events:
                    if isinstance(event, Closed):
                        with trio.move_on_after(LINGER):
                            await say_last_words(session, stream)
                        raise event.error or UnavailableError(event.reason)
    except trio.TooSlowError:
        raise UnavailableError(f"the peer did not finish the handshake within {HANDSHAKE_LIMIT:g} seconds") from None
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise UnavailableError(
            "the connection broke during the handshake: check that syncfs runs there, with this share"
        ) from None
    return [event for event in events if not isinstance(event, HandshakeDone)]
