"""Where the content of a file is cut: one fixed schedule over the offset, small chunks first.

Nothing has to be known in advance and nothing moves when a file grows, so a random write touches one chunk and a
database keeps its pages where they are. Chunk sizes double from 128 KiB to 1 MiB while the file grows; the figures
behind the schedule are in docs/decisions/.
"""

from collections.abc import Iterator

KIB = 1024
MIB = 1024 * KIB

_RAMP: tuple[tuple[int, int], ...] = ((8, 128 * KIB), (4, 256 * KIB), (4, 512 * KIB))
"""How many chunks of which size come first; all later ones have MAX_CHUNK bytes."""

MAX_CHUNK = MIB
INLINE_LIMIT = KIB
"""Content of at most so many bytes lives inside its version record."""


def _ramp_bounds() -> tuple[int, ...]:
    bounds = [0]
    for count, size in _RAMP:
        bounds.extend(bounds[-1] + size for _ in range(count))
    return tuple(bounds)


_BOUNDS = _ramp_bounds()
RAMP_CHUNKS = len(_BOUNDS) - 1
"""All chunks from this one on have MAX_CHUNK bytes."""
_RAMP_END = _BOUNDS[-1]


def chunk_start(index: int) -> int:
    """The offset of the first byte of chunk `index`."""
    if index < RAMP_CHUNKS:
        return _BOUNDS[index]
    return _RAMP_END + (index - RAMP_CHUNKS) * MAX_CHUNK


def chunk_span(index: int) -> tuple[int, int]:
    """The offsets (start, stop) that chunk `index` may cover; the last chunk of a file ends with the file."""
    return chunk_start(index), chunk_start(index + 1)


def chunk_at(offset: int) -> int:
    """The index of the chunk that holds the byte at `offset`."""
    if offset >= _RAMP_END:
        return RAMP_CHUNKS + (offset - _RAMP_END) // MAX_CHUNK
    low = 0
    while _BOUNDS[low + 1] <= offset:
        low += 1
    return low


def chunk_count(size: int) -> int:
    """How many chunks a file of `size` bytes has, holes included."""
    return chunk_at(size - 1) + 1 if size else 0


def chunks_between(start: int, stop: int) -> Iterator[int]:
    """The indexes of the chunks that hold any of the bytes start ≤ offset < stop."""
    if start < stop:
        yield from range(chunk_at(start), chunk_at(stop - 1) + 1)
