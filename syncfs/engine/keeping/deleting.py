"""Deleting chunks, in an order in which no crash leaves a chunk that the index tells of and the disk lacks.

A batch is first forgotten in the index, then that is made durable, and only then its bytes are deleted: a crash at any
point leaves at most bytes that nobody knows of.
"""

from collections.abc import Callable, Collection, Container
from dataclasses import dataclass
from typing import Final

import trio

from syncfs.index.index import Index
from syncfs.model.ids import Address
from syncfs.store.disk import DiskStore

BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class ChunkDeletion:
    """Deletes from one share's store; `commit` ends the open transaction of its index."""

    index: Index
    store: DiskStore
    commit: Callable[[], None]

    async def delete(
        self,
        victims: Collection[bytes],
        needed_again: Callable[[], Container[bytes]],
        forgotten: Callable[[list[Address]], None],
    ) -> tuple[int, int]:
        """Delete chunks that are loose; how many were here, and their bytes. Raises SetupError, DamageError.

        Before each batch `needed_again` tells which are to stay after all; `forgotten` hears of a batch before the
        commit.
        """
        chunks = size = 0
        waiting = sorted(victims)
        for start in range(0, len(waiting), BATCH):
            # From here to the commit nothing awaits: what is needed again since the victims were chosen stays.
            stays = needed_again()
            batch = [Address(one) for one in waiting[start : start + BATCH] if one not in stays]
            here = [one for one in batch if self.store.has(one)]
            places = self.store.forget(here)
            self.index.past.settle_loose(batch)
            forgotten(batch)
            self.commit()
            await trio.to_thread.run_sync(self.index.database.sync)
            await trio.to_thread.run_sync(self.store.discard, places)
            chunks += len(here)
            size += sum(place.size for place in places)
        return chunks, size
