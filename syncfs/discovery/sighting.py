"""What discovery talks about: where a member of a share may be reached, who says so, and what we say of ourselves.

A source only claims. Whoever is met at an endpoint has to prove membership in the handshake, so a wrong sighting costs
a connection attempt and nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

LAN = "lan"
FIXED = "fixed"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Where to connect: `host` is an address (`fe80::1%eth0` where link-local) or a name to be resolved at each try."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a source may tell others: the share's rendezvous key (32 bytes, never sent) and the TCP port we listen on.

    Port 0 says that we listen nowhere: others are asked for, and nobody is asked to come.
    """

    rendezvous_key: bytes
    port: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """A member of the share may be at `endpoint`, as `source` learnt at `seen` (seconds of trio.current_time).

    `share_tag` names the share to ourselves (see `share_tag`). `instance` is the random id of the announcing process,
    the same on all its addresses and new after each start; empty where a source knows none.
    """

    endpoint: Endpoint
    source: str
    seen: float
    share_tag: bytes
    instance: bytes = b""


class Source(Protocol):
    """Looks for members of one share, and may let them find us.

    `run` works until it is cancelled and leaves nothing behind. It calls `announce` each time before it says something,
    so a changed port is told the next time, and `report` for each sighting, again and again while it lasts; both are
    plain functions. It never reports its own process where it can tell, and network trouble never ends it.
    """

    @property
    def reasons(self) -> Sequence[str]:
        """What keeps members from being found now, and what a person can do about it, for `status`."""
        ...

    async def run(self, announce: Callable[[], Announcement], report: Callable[[Sighting], None]) -> None:
        """Look and be seen until cancelled."""
        ...
