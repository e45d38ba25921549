"""Chunks that only one unsettled file needs, so that they can go as soon as it is written over before it has a version.

A program that writes here and there in a large file makes chunks again and again; without this each of them would stay
until the next collection. A chunk is fresh from the one put that stored it until a version tells of it; a second put of
the same content, or a peer that sends it, ends that too.
"""

from collections.abc import Iterable

import trio

from syncfs.model.ids import Address

DROP_BYTES = 128 * 1024 * 1024
"""So much given up is worth a look before the usual time."""


class FreshChunks:
    """Which chunks are fresh, and which of them were given up."""

    def __init__(self) -> None:
        self._sizes: dict[Address, int] = {}
        self._given_up: dict[Address, int] = {}
        self._bytes = 0
        self.enough = trio.Event()
        """Set when DROP_BYTES were given up; `take` makes a new one."""

    def stored(self, chunks: Iterable[tuple[Address, int]], new: Iterable[Address]) -> None:
        """One put had these chunks (address, size); the `new` ones were not here before."""
        seen: set[Address] = set()
        first = set(new)
        for address, size in chunks:
            if address in first and address not in seen:
                self._sizes[address] = size
            else:
                self.needed([address])
            seen.add(address)

    def needed(self, addresses: Iterable[Address]) -> None:
        """Somebody else has to do with these as well."""
        for address in addresses:
            self._sizes.pop(address, None)
            self._bytes -= self._given_up.pop(address, 0)

    def give_up(self, addresses: Iterable[Address]) -> None:
        """The file that these were stored for needs them no more."""
        for address in addresses:
            size = self._sizes.pop(address, None)
            if size is not None:
                self._given_up[address] = size
                self._bytes += size
        if self._bytes >= DROP_BYTES:
            self.enough.set()

    def take(self) -> set[bytes]:
        """The chunks that were given up since the last call."""
        found, self._given_up, self._bytes = set[bytes](self._given_up), {}, 0
        self.enough = trio.Event()
        return found
