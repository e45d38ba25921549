"""Where chunks lie on this computer: the values in which index and store speak of them."""

from dataclasses import dataclass

from syncfs.model.ids import Address

OWN_FILE = 0
"""The `pack` of a chunk that is a file of its own; real packs count from 1 and a number is never used again."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the sealed bytes of one chunk lie: `size` bytes at `offset` in `pack`, or a file of its own."""

    pack: int
    offset: int
    size: int
    address: Address


@dataclass(frozen=True, slots=True)
class Held:
    """A chunk that is here, its size in bytes, and when it was last of use, in ns since 1970."""

    address: Address
    size: int
    used: int


@dataclass(frozen=True, slots=True)
class Totals:
    """How many chunks with how many sealed bytes are here; `own` counts those that are files of their own."""

    chunks: int = 0
    bytes: int = 0
    own_chunks: int = 0
    own_bytes: int = 0
