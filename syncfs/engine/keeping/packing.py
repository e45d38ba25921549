"""Rewriting packs: those that are mostly dead space, and those that the disk refused to write.

A pack goes only when the index that tells where its chunks are now is durable.
"""

from collections.abc import Callable

import trio

from syncfs.index.index import Index
from syncfs.store.disk import DiskStore


class Packer:
    """Empties packs of a share's store; everything here raises SetupError, DamageError or UnavailableError."""

    def __init__(self, index: Index, store: DiskStore, commit: Callable[[], None]) -> None:
        self._index = index
        self._store = store
        self._commit = commit

    async def give_back(self) -> None:
        """Rewrite all packs that are mostly dead space."""
        while await self.compact():
            await trio.lowlevel.checkpoint()

    async def compact(self) -> bool:
        """Rewrite one pack that is mostly dead space; false if there is none."""
        wasteful = self._store.wasteful()
        if wasteful is None:
            return False
        copied = await trio.to_thread.run_sync(self._store.copy_live, wasteful)
        self._store.adopt(wasteful, copied)
        await self._delete_emptied()
        return True

    async def renew(self) -> bool:
        """Rewrite the packs that failed syncs were about; false while one is being written to."""
        doubtful = self._store.in_doubt()
        if doubtful is None:
            return False
        copied = await trio.to_thread.run_sync(self._store.renew, doubtful)
        self._store.believe(doubtful, copied)
        await self._delete_emptied()
        return True

    async def _delete_emptied(self) -> None:
        emptied = self._store.emptied()
        self._commit()
        await trio.to_thread.run_sync(self._index.database.sync)
        await trio.to_thread.run_sync(self._store.unlink, emptied)
