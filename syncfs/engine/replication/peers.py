"""The links of one share: whom we are connected with, whom to call next, and who may stay.

Between two devices there is one link. Where both have called each other, both keep the link that the device with the
smaller id opened. Calls follow the directory's advice; one that fails is only written down there.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from math import inf
from typing import Protocol

import trio

from syncfs.discovery.directory import Directory
from syncfs.discovery.sighting import Announcement, Endpoint, Sighting, Source
from syncfs.model.errors import ForeignError, RefusedError, SyncfsError
from syncfs.model.ids import DeviceId
from syncfs.transport.link import Link, Serve, run_link
from syncfs.transport.listener import accept_links
from syncfs.transport.streams import Listener, Network, path_of
from syncfs.wire.credentials import Credentials

CALL_SECONDS = 10.0
CALLS_AT_ONCE = 8

_log = logging.getLogger(__name__)


class Attendant(Protocol):
    """Who looks after a link while it lasts."""

    def opened(self, link: Link) -> None:
        """A link to a peer stands; called before any message of the peer is served."""

    async def attend(self, link: Link) -> None:
        """Work beside the link; cancelled when it ends."""

    def closed(self, link: Link) -> None:
        """The link is over."""


class Peers:
    """Keeps one link to every peer that can be reached."""

    def __init__(
        self,
        network: Network,
        credentials: Callable[[], Credentials],
        directory: Directory,
        serve: Serve,
        attendants: Sequence[Attendant],
    ) -> None:
        self._network = network
        self._credentials = credentials
        self._directory = directory
        self._serve = serve
        self._attendants = attendants
        self._links: dict[DeviceId, Link] = {}
        self._sources: tuple[Source, ...] = ()
        self._news = trio.Event()
        self._limit = trio.CapacityLimiter(CALLS_AT_ONCE)
        self.last_problem = ""
        """Why the last link failed, for `status`."""
        self._breach: tuple[DeviceId, str] | None = None

    @property
    def links(self) -> list[Link]:
        """The links that stand now."""
        return list(self._links.values())

    @property
    def breach(self) -> str:
        """Which member broke the rules of the protocol last, and how; empty once it is linked again."""
        return self._breach[1] if self._breach is not None else ""

    @property
    def reasons(self) -> list[str]:
        """What keeps peers from being found now, for `status`."""
        return [reason for source in self._sources for reason in source.reasons]

    async def run(
        self, sources: Iterable[Source], listeners: Sequence[Listener], announce: Callable[[], Announcement]
    ) -> None:
        """Find, call and answer peers until cancelled."""
        self._sources = tuple(sources)
        async with trio.open_nursery() as nursery:
            for source in self._sources:
                nursery.start_soon(source.run, announce, self._saw)
            if listeners:
                incoming = partial(self._opened, None)
                nursery.start_soon(
                    accept_links, listeners, self._credentials, self._serve, incoming, self._incoming_failed
                )
            await self._call_others(nursery)

    def _saw(self, sighting: Sighting) -> None:
        self._directory.saw(sighting)
        self._wake()

    async def _call_others(self, nursery: trio.Nursery) -> None:
        while True:
            news = self._news
            now = trio.current_time()
            endpoint = self._directory.next(now) if self._limit.available_tokens else None
            if endpoint is not None:
                # An endpoint is no borrower: it may be called anew while an earlier call to it still waits.
                borrower = object()
                await self._limit.acquire_on_behalf_of(borrower)
                nursery.start_soon(self._call, endpoint, borrower)
                continue
            wake = self._directory.wake_at(now) if self._limit.available_tokens else inf
            with trio.move_on_at(max(wake, now + 0.01)):
                await news.wait()

    async def _call(self, endpoint: Endpoint, borrower: object) -> None:
        try:
            try:
                stream = await self._network.open(endpoint.host, endpoint.port, CALL_SECONDS)
            finally:
                self._limit.release_on_behalf_of(borrower)
            reason = await run_link(
                stream, self._credentials(), True, self._serve, partial(self._opened, endpoint),
                address=str(endpoint), path=path_of(endpoint.host),
            )  # fmt: skip
        except SyncfsError as error:
            reason = str(error)
            self.last_problem = f"{endpoint}: {reason}"
            _log.info("no link to %s: %s", endpoint, reason)
        self._directory.failed(endpoint, trio.current_time(), reason)
        self._wake()

    def _incoming_failed(self, address: str, error: SyncfsError) -> None:
        self.last_problem = f"{address}: {error}"
        _log.info("the link from %s ended: %s", address, error)

    def _opened(self, endpoint: Endpoint | None, link: Link) -> Awaitable[None] | None:
        """A handshake has succeeded; `endpoint` is set where it was us who called."""
        now, device, own = trio.current_time(), link.peer.device, self._credentials().identity.id
        if device == own:
            if endpoint is not None:
                self._directory.ourselves(endpoint, now)
            link.close("this is the same device")
            return None
        rival = self._links.get(device)
        if rival is not None and not rival.closed:
            caller_is_smaller = (own if endpoint is not None else device) < max(own, device)
            if not caller_is_smaller:
                if endpoint is not None:
                    self._directory.duplicate(endpoint, device, now)
                link.close("there is another link already")
                return None
            rival.close("replaced by another link")
        self._links[device] = link
        where = endpoint
        if where is None and link.peer.listen_port:
            host = link.peer.address.rpartition(":")[0].strip("[]")
            where = Endpoint(host, link.peer.listen_port)
        # Not in a task of its own: the peer's first message may be here already, and its task may run first.
        self._directory.linked(device, now, where)
        _log.info("linked with %s at %s (%s)", link.peer.name, link.peer.address, link.peer.role.value)
        self.last_problem = ""
        if self._breach is not None and self._breach[0] == device:
            self._breach = None
        try:
            for attendant in self._attendants:
                attendant.opened(link)
        except BaseException:
            self._gone(link, where)
            raise
        return self._attend(link, where)

    async def _attend(self, link: Link, where: Endpoint | None) -> None:
        try:
            async with trio.open_nursery() as nursery:
                for attendant in self._attendants:
                    nursery.start_soon(attendant.attend, link)
                await trio.sleep_forever()
        finally:
            self._gone(link, where)

    def _gone(self, link: Link, where: Endpoint | None) -> None:
        for attendant in self._attendants:
            attendant.closed(link)
        device, failure = link.peer.device, link.failure
        if isinstance(failure, ForeignError) and not isinstance(failure, RefusedError):
            self._breach = device, f"{link.peer.name} at {link.peer.address}: {failure}"
        if self._links.get(device) is link:
            del self._links[device]
        self._directory.unlinked(device, trio.current_time(), where, "the link ended")
        _log.info("the link with %s ended", link.peer.name)
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()
