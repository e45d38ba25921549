"""Accepts streams and runs a link over each, with a bound on those that have not proved anything yet.

A stranger can hold MAX_HALF_OPEN_PER_HOST streams for HANDSHAKE_LIMIT seconds and no more; all strangers together
MAX_HALF_OPEN. What comes beyond that is hung up on at once. No failure of one link reaches another.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import trio

from syncfs.model.errors import SyncfsError
from syncfs.transport.link import Link, Serve, run_link
from syncfs.transport.streams import Listener, Stream, format_endpoint, path_of
from syncfs.transport.tcp import remote_of
from syncfs.wire.credentials import Credentials
from syncfs.wire.replay import ReplayGuard

MAX_HALF_OPEN = 64
MAX_HALF_OPEN_PER_HOST = 16

_log = logging.getLogger(__name__)


class Door:
    """Counts the streams that are between being accepted and being known."""

    def __init__(self, limit: int = MAX_HALF_OPEN, limit_per_host: int = MAX_HALF_OPEN_PER_HOST) -> None:
        self._limit = limit
        self._limit_per_host = limit_per_host
        self._hosts: Counter[str] = Counter()
        self._total = 0

    @property
    def half_open(self) -> int:
        """How many streams are not known yet."""
        return self._total

    def enter(self, host: str) -> bool:
        """Whether one more stream from there may try; if so, `leave` must follow once."""
        if self._total >= self._limit or self._hosts[host] >= self._limit_per_host:
            return False
        self._hosts[host] += 1
        self._total += 1
        return True

    def leave(self, host: str) -> None:
        """A stream from there is known now, or gone."""
        self._total -= 1
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]


async def accept_links(
    listeners: Sequence[Listener],
    credentials: Callable[[], Credentials],
    serve: Serve,
    on_open: Callable[[Link], Awaitable[None] | None],
    on_failed: Callable[[str, SyncfsError], None],
    *,
    door: Door | None = None,
) -> None:
    """Accept for ever; a link ends when its peer or `on_open` ends it. Cancel to stop, the links too.

    `credentials` is asked anew for each stream. `on_failed` hears of each link that did not end in good order, with the
    address of the peer.
    """
    door = door or Door()
    guard = ReplayGuard()

    async def handle(stream: Stream) -> None:
        host, port = remote_of(stream)
        if not door.enter(host):
            await trio.aclose_forcefully(stream)
            return
        inside = True

        def opened(link: Link) -> Awaitable[None] | None:
            leave()
            return on_open(link)

        def leave() -> None:
            nonlocal inside
            if inside:
                inside = False
                door.leave(host)

        address = format_endpoint(host, port)
        try:
            await run_link(
                stream, credentials(), False, serve, opened, address=address, path=path_of(host), fresh=guard.fresh
            )
        except SyncfsError as error:
            on_failed(address, error)
        except Exception:
            _log.exception("the link to %s met an internal error", address)
        finally:
            leave()

    await trio.serve_listeners(handle, list(listeners))
