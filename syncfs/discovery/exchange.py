"""The conversation of one process with its neighbours, decided: datagrams in, what to report and to answer out.

Rules:
- A HELLO is answered once, to its sender; ALIVE and ANSWER never are, so a LAN of n members carries n datagrams per
  round and interface, not n².
- A datagram counts once: its nonce is remembered for as long as its time is accepted, or until MAX_NONCES later ones.
- A datagram whose time is more than FRESHNESS from ours is not used: its clock is wrong, or somebody replays an old
  capture to see whether we react to it. That is logged once per sender, and told in `status` for as long as such come.
- Anything that is not of this share is dropped without a word; there is nobody to tell.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from syncfs.discovery.beacon import (
    INSTANCE_BYTES,
    NONCE_BYTES,
    Beacon,
    Kind,
    beacon_keys,
    decode_beacon,
    encode_beacon,
    share_tag,
)
from syncfs.discovery.sighting import LAN, Announcement, Endpoint, Sighting
from syncfs.model.errors import ForeignError

FRESHNESS = 900
"""Seconds that the clocks of two computers may differ."""
MAX_NONCES = 4096
UNHEARD_SECONDS = 120.0
"""A process with a wrong clock that was not heard for so long, three times its silence, is gone and told no longer."""
SHOWN_REASONS = 5
_MAX_COMPLAINTS = 100


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a datagram calls for: a sighting to report, bytes to send back to its sender, a line for the log."""

    sighting: Sighting | None = None
    answer: bytes | None = None
    warning: str = ""


NOTHING = Reaction()


@dataclass(frozen=True, slots=True)
class _Astray:
    """A process whose clock is far from ours: what its clock showed when ours showed 0, as heard last at `heard`.

    Both are of the monotonic clock, so that what it says follows our own clock when that is set.
    """

    host: str
    base: float
    heard: float


class Exchange:
    """One share's side of the conversation. `random(n)` gives n fresh random bytes; times are passed to each call.

    `now` is in seconds of the monotonic clock, `wall` in seconds since 1970.
    """

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._instance = random(INSTANCE_BYTES)
        self._nonces: OrderedDict[bytes, None] = OrderedDict()
        self._complained: set[str] = set()
        self._astray: dict[bytes, _Astray] = {}

    def hello(self, ours: Announcement, wall: float) -> bytes:
        """A datagram for everybody that asks for answers: at the start, and where an interface is new."""
        return self._encode(ours, Kind.HELLO, wall)

    def alive(self, ours: Announcement, wall: float) -> bytes:
        """A datagram for everybody that says we are still here."""
        return self._encode(ours, Kind.ALIVE, wall)

    def received(self, ours: Announcement, data: bytes, host: str, now: float, wall: float) -> Reaction:
        """What to do about `data` that came from `host`. Raises nothing, whatever the bytes."""
        try:
            beacon = decode_beacon(beacon_keys(ours.rendezvous_key), data)
        except ForeignError:
            return NOTHING
        if beacon.instance == self._instance or not self._is_new(data[:NONCE_BYTES]):
            return NOTHING
        if abs(beacon.time - wall) > FRESHNESS:
            self._note(beacon.instance, _Astray(host, beacon.time - now, now))
            return Reaction(warning=self._complaint(host, beacon.time - wall))
        self._astray.pop(beacon.instance, None)
        sighting = None
        if beacon.port:
            endpoint = Endpoint(host, beacon.port)
            sighting = Sighting(endpoint, LAN, now, share_tag(ours.rendezvous_key), beacon.instance)
        return Reaction(sighting, self._encode(ours, Kind.ANSWER, wall) if beacon.kind is Kind.HELLO else None)

    def reasons(self, now: float, wall: float) -> list[str]:
        """Whom we do not find because of a clock, a sentence for each computer, and how many more there are."""
        heard = [one for one in self._astray.values() if now - one.heard <= UNHEARD_SECONDS]
        far = {one.host: ahead for one in heard if abs(ahead := one.base + now - wall) > FRESHNESS}
        told = [_difference(host, far[host]) for host in sorted(far)]
        more = len(told) - SHOWN_REASONS
        return (
            told if more <= 0 else [*told[:SHOWN_REASONS], f"the clocks of {more} more computers are as far from ours"]
        )

    def _note(self, instance: bytes, astray: _Astray) -> None:
        """Keep a process by its instance: it is heard at each of its addresses, and is told at the first."""
        known = self._astray.pop(instance, None)
        host = astray.host if known is None else known.host
        self._astray[instance] = replace(astray, host=host)  # the last heard is the last to go
        if len(self._astray) > _MAX_COMPLAINTS:
            del self._astray[next(iter(self._astray))]

    def _encode(self, ours: Announcement, kind: Kind, wall: float) -> bytes:
        beacon = Beacon(kind, ours.port, max(0, int(wall)), self._instance)
        return encode_beacon(beacon_keys(ours.rendezvous_key), beacon, self._random(NONCE_BYTES))

    def _is_new(self, nonce: bytes) -> bool:
        if nonce in self._nonces:
            return False
        self._nonces[nonce] = None
        if len(self._nonces) > MAX_NONCES:
            self._nonces.popitem(last=False)
        return True

    def _complaint(self, host: str, ahead: float) -> str:
        if host in self._complained or len(self._complained) >= _MAX_COMPLAINTS:
            return ""
        self._complained.add(host)
        return _difference(host, ahead)


def _difference(host: str, ahead: float) -> str:
    return (
        f"the clock of the computer at {host} is {_duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} "
        "ours, so the two do not find each other on the LAN: set the one that is wrong"
    )


def _duration(seconds: float) -> str:
    for name, length in (("days", 86400), ("hours", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds / 60:.0f} minutes"
