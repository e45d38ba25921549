"""Which endpoint to try next: the bookkeeping of sightings, tries and links, told the time and given its randomness.

Rules:
- An endpoint waits after each failure: 1 s, then twice as long each time up to 60 s, less up to a third by chance. A
  link that held STABLE seconds clears its failures. A shorter one counts as a failure, so a peer that accepts and
  hangs up is not called in a loop; but it shows that somebody is there, so the wait after it is 4 s at most.
- A new process at an endpoint (another instance) clears failures as well, but no two tries are closer than FIRST_WAIT.
- Fresh LAN sightings come before fixed peers, those before what others told, stale LAN sightings last.
- A peer has several endpoints, known by one instance or one device: none of them is tried while another is tried or
  linked. What an endpoint was once found to lead to is believed for BELIEF seconds.
- What is fixed is never forgotten; the rest is when it was not seen for long, or to make room.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from math import inf

from syncfs.discovery.sighting import FIXED, LAN, Endpoint, Sighting
from syncfs.model.ids import DeviceId

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
WAIT_SPREAD = 1 / 3
"""The part of each wait that chance may take away."""
STABLE = 2.0
"""Seconds a link has to hold to count as a success."""
SHORT_LINK_FAILURES = 3
"""What a shorter link counts for at most, whatever came before it."""
OURSELVES_WAIT = 600.0
"""Seconds until an endpoint is tried again that led to ourselves: its address may be somebody else's by then."""
BELIEF = 3600.0
FRESH = 90.0
"""Seconds in which a living neighbour is heard at least twice."""
KEEP = {LAN: 600.0}
KEEP_OTHERS = 86400.0
"""Seconds after which a sighting is forgotten, by source; what is fixed never is."""
MAX_ENDPOINTS = 2000


class State(Enum):
    """Where an endpoint is in its life; see _MOVES."""

    WAITING = "waiting"
    TRYING = "trying"
    LINKED = "linked"


class Event(Enum):
    """What can happen to an endpoint."""

    TRIED = "tried"
    FAILED = "failed"
    LINKED = "linked"
    UNLINKED = "unlinked"


_MOVES: dict[tuple[State, Event], State] = {
    (State.WAITING, Event.TRIED): State.TRYING,
    (State.TRYING, Event.FAILED): State.WAITING,
    (State.TRYING, Event.LINKED): State.LINKED,
    (State.WAITING, Event.LINKED): State.LINKED,  # the peer called us, and this is where it listens
    (State.LINKED, Event.UNLINKED): State.WAITING,
}
"""Every other event leaves the endpoint as it is: it speaks of a try that was already settled."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one endpoint; times are seconds of the monotonic clock, `-inf` for never.

    `seen` tells when each source last named it; `due` when it may be tried; `reason` why the last try failed.
    """

    endpoint: Endpoint
    state: State = State.WAITING
    seen: dict[str, float] = field(default_factory=dict)
    instance: bytes = b""
    device: DeviceId | None = None
    device_since: float = -inf
    failures: int = 0
    tried: float = -inf
    linked: float = -inf
    due: float = -inf
    reason: str = ""

    @property
    def fixed(self) -> bool:
        """Whether the user named it."""
        return FIXED in self.seen


class Directory:
    """The endpoints of one share; `random` gives numbers 0 ≤ x < 1. Times passed in never go back."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._known: dict[Endpoint, Known] = {}
        self._linked_devices: Counter[DeviceId] = Counter()

    def known(self) -> list[Known]:
        """All endpoints, for showing."""
        return list(self._known.values())

    def saw(self, sighting: Sighting) -> None:
        """A source says that a member may be at an endpoint."""
        known = self._known.get(sighting.endpoint)
        if known is None:
            if not self._make_room(sighting):
                return
            known = Known(sighting.endpoint)
        latest = max(sighting.seen, known.seen.get(sighting.source, -inf))
        known = replace(known, seen={**known.seen, sighting.source: latest})
        if sighting.instance and sighting.instance != known.instance:
            known = replace(known, instance=sighting.instance)
            if known.state is not State.LINKED:
                due = min(known.due, max(sighting.seen, known.tried + FIRST_WAIT))
                known = replace(known, device=None, failures=0, due=due)
        self._known[sighting.endpoint] = known

    def next(self, now: float) -> Endpoint | None:
        """The best endpoint that may be tried now, which counts as tried from here on; None if there is none."""
        self._forget(now)
        due = [known for known, moment in self._moments() if moment <= now]
        if not due:
            return None
        best = min(due, key=lambda known: _order(known, now))
        self._move(best.endpoint, Event.TRIED, tried=now)
        return best.endpoint

    def wake_at(self, now: float) -> float:
        """When `next` may have an endpoint, if nothing is told to us until then; `inf` for never."""
        return min((max(now, moment) for _, moment in self._moments()), default=inf)

    def failed(self, endpoint: Endpoint, now: float, reason: str = "") -> None:
        """A try ended without a link."""
        known = self._known.get(endpoint)
        if known is not None and known.state is State.TRYING:
            failures = known.failures + 1
            self._move(
                endpoint, Event.FAILED, failures=failures, due=now + self._wait(failures), device=None, reason=reason
            )

    def ourselves(self, endpoint: Endpoint, now: float) -> None:
        """A try reached this very device."""
        self._move(endpoint, Event.FAILED, due=now + OURSELVES_WAIT, reason="this is our own address")

    def duplicate(self, endpoint: Endpoint, device: DeviceId, now: float) -> None:
        """A try reached a device that we are linked with already, and was given up for that."""
        self._move(endpoint, Event.FAILED, device=device, device_since=now, due=now + self._wait(1), failures=0)

    def linked(self, device: DeviceId, now: float, endpoint: Endpoint | None = None) -> None:
        """There is a link with a device; `endpoint` is where it listens, if that is known."""
        self._linked_devices[device] += 1
        if endpoint is not None:
            self._move(endpoint, Event.LINKED, device=device, device_since=now, linked=now, reason="")

    def unlinked(self, device: DeviceId, now: float, endpoint: Endpoint | None = None, reason: str = "") -> None:
        """A link is gone; to be told once for each `linked`, with the same endpoint."""
        self._linked_devices[device] -= 1
        self._linked_devices += Counter()  # keeps only what is above zero
        known = None if endpoint is None else self._known.get(endpoint)
        if known is None or known.state is not State.LINKED:
            return
        failures = 0 if now - known.linked >= STABLE else min(known.failures + 1, SHORT_LINK_FAILURES)
        wait = self._wait(max(1, failures))
        seen = {source: now if source == LAN else time for source, time in known.seen.items()}
        self._move(
            known.endpoint,
            Event.UNLINKED,
            failures=failures,
            due=now + wait,
            device_since=now,
            seen=seen,
            reason=reason,
        )

    def _moments(self) -> Iterator[tuple[Known, float]]:
        """Each endpoint that waits, and from when it may be tried; those whose peer is tried or linked are left out."""
        busy = {known.instance for known in self._known.values() if known.state is not State.WAITING}
        for known in self._known.values():
            if known.state is not State.WAITING or (known.instance and known.instance in busy):
                continue
            doubted = known.device_since + BELIEF if known.device in self._linked_devices else -inf
            yield known, max(known.due, doubted)

    def _wait(self, failures: int) -> float:
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 16))
        return max(FIRST_WAIT, longest * (1 - WAIT_SPREAD * self._random()))

    def _move(self, endpoint: Endpoint, event: Event, **changes: object) -> None:
        known = self._known.get(endpoint)
        if known is None:
            return
        state = _MOVES.get((known.state, event))
        if state is not None:
            self._known[endpoint] = replace(known, state=state, **changes)  # type: ignore[arg-type]

    def _forget(self, now: float) -> None:
        for known in self.known():
            if known.state is State.WAITING and not known.fixed and _outdated(known, now):
                del self._known[known.endpoint]

    def _make_room(self, sighting: Sighting) -> bool:
        """Whether one more fits, after the stalest that is neither fixed nor in use gave way."""
        if sighting.source == FIXED or len(self._known) < MAX_ENDPOINTS:
            return True
        loose = [known for known in self._known.values() if known.state is State.WAITING and not known.fixed]
        if not loose:
            return False
        stalest = min(loose, key=_last_seen)
        if _last_seen(stalest) > sighting.seen:
            return False
        del self._known[stalest.endpoint]
        return True


def _last_seen(known: Known) -> float:
    return max(known.seen.values(), default=-inf)


def _outdated(known: Known, now: float) -> bool:
    return all(now - time > KEEP.get(source, KEEP_OTHERS) for source, time in known.seen.items())


def _order(known: Known, now: float) -> tuple[int, int, float, Endpoint]:
    """Smaller is better: rank, then fewer failures, then the latest sighting, then by name so that it is one order."""
    if now - known.seen.get(LAN, -inf) <= FRESH:
        rank = 0
    elif known.fixed:
        rank = 1
    else:
        rank = 3 if set(known.seen) == {LAN} else 2
    return rank, known.failures, -_last_seen(known), known.endpoint
