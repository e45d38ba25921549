"""A network in memory, for simulations under a virtual clock: delay, partitions, crashes, seeded loss of connections.

Streams behave as TCP does: a partition stalls them and makes new connections time out, a crash or a loss breaks them on
both sides, closing one end ends the other after what was sent has arrived. The same seed gives the same run.
"""

import math
import operator
import random
from collections import deque
from collections.abc import Iterable

import trio

from syncfs.model.errors import PortTakenError, UnavailableError

CAPACITY = 256 * 1024
"""Bytes on the way in one direction before the sender waits."""
_FIRST_FREE_PORT = 49152


class MemoryNetwork:
    """Hosts by name and the streams between them; times in seconds, `loss` the chance that a send breaks its stream."""

    def __init__(self, seed: int = 0, *, delay: float = 0.0, jitter: float = 0.0, loss: float = 0.0) -> None:
        self.delay = delay
        self.jitter = jitter
        self.loss = loss
        self._dice = random.Random(seed)
        self._listeners: dict[tuple[str, int], MemoryListener] = {}
        self._streams: list[MemoryStream] = []
        self._island: dict[str, int] = {}
        self._changed = trio.Event()
        self._next_port = _FIRST_FREE_PORT

    def host(self, name: str) -> "MemoryHost":
        """The network as the host with this name sees it."""
        return MemoryHost(self, name)

    def partition(self, *islands: Iterable[str]) -> None:
        """Let hosts reach those of their own island only; hosts that are not named form one island."""
        self._island = {host: number for number, island in enumerate(islands, 1) for host in island}
        self._announce()

    def heal(self) -> None:
        """End all partitions."""
        self.partition()

    def crash(self, name: str) -> None:
        """Break all streams and remove all listeners of a host."""
        for stream in self._streams.copy():
            if name in (stream.local[0], stream.remote[0]):
                stream.break_off()
        for address in [address for address in self._listeners if address[0] == name]:
            self._listeners.pop(address).shut()

    def connected(self, one: str, other: str) -> bool:
        """Whether no partition is between two hosts."""
        return self._island.get(one, 0) == self._island.get(other, 0)

    async def wait_connected(self, one: str, other: str) -> None:
        """Return when no partition is between two hosts."""
        while not self.connected(one, other):
            await self._changed.wait()

    def arrival(self, earliest: float) -> float:
        """When something sent now arrives, not before `earliest`."""
        return max(earliest, trio.current_time() + self.delay + self._dice.random() * self.jitter)

    def is_lost(self) -> bool:
        """Whether this send breaks its stream."""
        return self.loss > 0 and self._dice.random() < self.loss

    def forget(self, stream: "MemoryStream") -> None:
        """A stream is closed."""
        if stream in self._streams:
            self._streams.remove(stream)

    def _announce(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def free_port(self) -> int:
        """A port that was not used before."""
        self._next_port += 1
        return self._next_port

    def add_listener(self, listener: "MemoryListener") -> None:
        """Make a listener reachable. Raises BusyError."""
        if listener.local in self._listeners:
            raise PortTakenError(f"port {listener.local[1]} is in use: choose another port")
        self._listeners[listener.local] = listener

    def remove_listener(self, listener: "MemoryListener") -> None:
        """Nobody listens there any more."""
        if self._listeners.get(listener.local) is listener:
            del self._listeners[listener.local]

    async def connect(self, source: str, host: str, port: int) -> "MemoryStream":
        """A stream between two hosts. Raises UnavailableError if nobody listens; waits out partitions."""
        await trio.sleep(self.delay)
        await self.wait_connected(source, host)
        listener = self._listeners.get((host, port))
        if listener is None:
            raise UnavailableError(f"{host}:{port} cannot be reached: Connection refused")
        there, back = _Pipe(self, (source, host)), _Pipe(self, (host, source))
        here = (source, self.free_port())
        near = MemoryStream(self, here, (host, port), back, there)
        far = MemoryStream(self, (host, port), here, there, back)
        self._streams += [near, far]
        listener.deliver(far)
        return near


class MemoryHost:
    """One host of a MemoryNetwork; the counterpart of transport.tcp.TcpNetwork."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self.network = network
        self.name = name

    async def open(self, host: str, port: int, timeout: float) -> "MemoryStream":
        """A stream to there. Raises UnavailableError."""
        try:
            with trio.fail_after(timeout):
                return await self.network.connect(self.name, host, port)
        except trio.TooSlowError:
            raise UnavailableError(f"{host}:{port} did not answer within {timeout:g} seconds") from None

    async def listen(self, host: str, port: int) -> list["MemoryListener"]:
        """One listener on this host, whatever `host` says. Raises BusyError."""
        await trio.lowlevel.checkpoint()
        listener = MemoryListener(self.network, (self.name, port or self.network.free_port()))
        self.network.add_listener(listener)
        return [listener]


class MemoryListener(trio.abc.Listener[trio.abc.HalfCloseableStream]):
    """Hands out the streams that others open to its address."""

    def __init__(self, network: MemoryNetwork, local: tuple[str, int]) -> None:
        self.local = local
        self.remote = ("", 0)
        self._network = network
        self._send, self._receive = trio.open_memory_channel["MemoryStream"](math.inf)

    def deliver(self, stream: "MemoryStream") -> None:
        """Somebody has connected."""
        self._send.send_nowait(stream)

    def shut(self) -> None:
        """Stop at once."""
        self._send.close()
        self._receive.close()

    async def accept(self) -> "MemoryStream":
        """The next stream."""
        return await self._receive.receive()

    async def aclose(self) -> None:
        """Stop listening."""
        self._network.remove_listener(self)
        self.shut()
        await trio.lowlevel.checkpoint()


class _Pipe:
    """One direction of a stream: bytes with the time of their arrival."""

    def __init__(self, network: MemoryNetwork, route: tuple[str, str]) -> None:
        self.network = network
        self.route = route
        self.broken = False
        self.sender_done = False
        self.receiver_gone = False
        self._parts: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._last_arrival = 0.0
        self._changed = trio.Event()

    def notify(self) -> None:
        """Wake all who wait for a change."""
        self._changed.set()
        self._changed = trio.Event()

    async def send(self, data: memoryview) -> None:
        """Put all of `data` on the way, waiting for room."""
        while data:
            self.check_sending()
            room = CAPACITY - self._bytes
            if not room:
                await self._changed.wait()
                continue
            part, data = bytes(data[:room]), data[room:]
            self._last_arrival = self.network.arrival(self._last_arrival)
            self._parts.append((self._last_arrival, part))
            self._bytes += len(part)
            self.notify()

    async def wait_for_room(self) -> None:
        """Return when a send could go on."""
        while not (self.broken or self.receiver_gone or self.sender_done) and self._bytes >= CAPACITY:
            await self._changed.wait()

    def check_sending(self) -> None:
        """Raises BrokenResourceError, or ClosedResourceError if this side has ended its bytes."""
        if self.sender_done:
            raise trio.ClosedResourceError("this stream was closed")
        if self.broken or self.receiver_gone:
            raise trio.BrokenResourceError("the other end is gone")

    async def receive(self, limit: int) -> bytes:
        """Some bytes that have arrived; empty at the end."""
        while True:
            if self.receiver_gone:
                raise trio.ClosedResourceError("this stream was closed")
            if self.broken:
                raise trio.BrokenResourceError("the connection was lost")
            if not self._parts:
                if self.sender_done:
                    return b""
                await self._changed.wait()
                continue
            if not self.network.connected(*self.route):
                await self.network.wait_connected(*self.route)
                continue
            arrival, part = self._parts[0]
            if arrival > trio.current_time():
                changed = self._changed
                with trio.move_on_at(arrival):
                    await changed.wait()
                continue
            self._parts.popleft()
            if len(part) > limit:
                self._parts.appendleft((arrival, part[limit:]))
                part = part[:limit]
            self._bytes -= len(part)
            self.notify()
            return part


class _OneAtATime:
    """Refuses a second task inside a `with` of the same object, as trio's streams do."""

    def __init__(self, complaint: str) -> None:
        self._complaint = complaint
        self._taken = False

    def __enter__(self) -> None:
        if self._taken:
            raise trio.BusyResourceError(self._complaint)
        self._taken = True

    def __exit__(self, *exception: object) -> None:
        self._taken = False


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a stream in memory."""

    def __init__(
        self,
        network: MemoryNetwork,
        local: tuple[str, int],
        remote: tuple[str, int],
        incoming: _Pipe,
        outgoing: _Pipe,
    ) -> None:
        self.local = local
        self.remote = remote
        self._network = network
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False
        self._sending = _OneAtATime("another task is sending on this stream")
        self._receiving = _OneAtATime("another task is receiving on this stream")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; waits while too much is on the way."""
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check_open()
            if self._network.is_lost():
                self.break_off()
            self._outgoing.check_sending()
            await self._outgoing.send(memoryview(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check_open()
            await self._outgoing.wait_for_room()
            self._check_open()

    async def send_eof(self) -> None:
        """No more bytes come from here."""
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check_open()
            self._outgoing.sender_done = True
            self._outgoing.notify()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; empty at the end of the stream."""
        with self._receiving:
            await trio.lowlevel.checkpoint()
            self._check_open()
            limit = CAPACITY if max_bytes is None else operator.index(max_bytes)
            if limit < 1:
                raise ValueError("max_bytes has to be at least 1")
            return await self._incoming.receive(limit)

    async def aclose(self) -> None:
        """Close both directions."""
        if not self._closed:
            self._closed = True
            self._outgoing.sender_done = True
            self._incoming.receiver_gone = True
            self._outgoing.notify()
            self._incoming.notify()
            self._network.forget(self)
        await trio.lowlevel.checkpoint()

    def break_off(self) -> None:
        """Lose the connection: both ends fail from now on."""
        for pipe in (self._incoming, self._outgoing):
            pipe.broken = True
            pipe.notify()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
