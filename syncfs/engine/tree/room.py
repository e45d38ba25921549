"""How much room the content of a file takes, as st_blocks shows it: holes take none.

What counts is what a version tells, whether or not its bytes are on this computer: whole chunks that are no holes, seen
from the top of the manifest only. So it is exact to a chunk for files of up to 64 chunks (about 53 MiB) and exact to
256 chunks above. Files of one chunk have no holes.
"""

from functools import lru_cache

from syncfs.index.index import Index
from syncfs.index.nodes import Node
from syncfs.model.chunking import chunk_span, chunk_start
from syncfs.model.ids import Stamp
from syncfs.model.manifest import FAN_OUT, entries_of, is_hole
from syncfs.model.records import INLINE

CACHED_VERSIONS = 10_000


def stored_bytes(size: int, depth: int, body: bytes) -> int:
    """How many bytes of a version are no holes."""
    if depth == INLINE:
        return size
    width = FAN_OUT**depth
    total = 0
    for number, entry in enumerate(entries_of(body)):
        if not is_hole(entry):
            total += min(size, chunk_start((number + 1) * width)) - chunk_start(number * width)
    return total


class Room:
    """Answers for the files of one index."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._of_version = lru_cache(CACHED_VERSIONS)(self._look_up)

    def taken(self, node: Node) -> int:
        """How many bytes of a file's content are no holes."""
        if node.head is None or node.size <= chunk_span(0)[1]:
            return node.size
        return self._of_version(node.head)

    def _look_up(self, stamp: Stamp) -> int:
        version = self._index.version(stamp)
        return 0 if version is None else stored_bytes(version.size, version.depth, version.body)
