"""Getting back the space of forgotten chunks in packs.

A pack of which more than half is dead is emptied: its live chunks are copied to the growing pack and made durable
(thread), the catalogue is told of their new places (loop), and only when the catalogue itself is durable is the old
file deleted (thread). A crash before that leaves chunks twice, never less than once.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass

from syncfs.model.ids import Address
from syncfs.model.places import OWN_FILE, Place
from syncfs.store.packformat import HEADER_BYTES, PREAMBLE_BYTES
from syncfs.store.packs import Packs

DEAD_SHARE = 0.5
"""A pack is worth emptying if more than this part of it is dead."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """A pack to be emptied, with what lives in it."""

    pack: int
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Copied:
    """What a compaction copied, as (old place, new place), and the chunks that turned out to be bad."""

    moved: tuple[tuple[Place, Place], ...]
    bad: tuple[Address, ...]


class Weights:
    """How much of each pack is alive, as far as known; packs from earlier are weighed one by one."""

    def __init__(self, unweighed: Iterable[int]) -> None:
        self._unweighed = set(unweighed)
        self._live: dict[int, int] = {}

    def held(self, place: Place) -> None:
        """A chunk came to life."""
        self._change(place, place.size + HEADER_BYTES)

    def dropped(self, place: Place) -> None:
        """A chunk died."""
        self._change(place, -(place.size + HEADER_BYTES))

    def _change(self, place: Place, step: int) -> None:
        if place.pack != OWN_FILE and place.pack not in self._unweighed:
            self._live[place.pack] = self._live.get(place.pack, 0) + step

    def next_unweighed(self) -> int | None:
        """A pack that nobody has weighed yet."""
        return min(self._unweighed, default=None)

    def weigh(self, pack: int, places: Iterable[Place]) -> None:
        """Learn what lives in a pack."""
        self._unweighed.discard(pack)
        self._live[pack] = sum(place.size + HEADER_BYTES for place in places)

    def removed(self, pack: int) -> None:
        """A pack is no more."""
        self._unweighed.discard(pack)
        self._live.pop(pack, None)

    def most_wasteful(self, packs: Packs, excepted: Set[int]) -> int | None:
        """The weighed, settled pack with the greatest dead share, if that is worth emptying."""
        worst, worst_share = None, DEAD_SHARE
        for number in packs.numbers():
            if number in self._unweighed or number in excepted or not packs.settled(number):
                continue
            size = packs.size(number)
            dead = size - PREAMBLE_BYTES - self._live.get(number, 0)
            if size <= PREAMBLE_BYTES or dead / size > worst_share:
                worst, worst_share = number, dead / size if size > PREAMBLE_BYTES else 1.0
        return worst
