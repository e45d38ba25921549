"""Going on by itself after the disk refused to write, once it writes again.

What a failed fsync was about is written anew, into blocks that the disk has not refused: the index first, then the
packs of the store, whose places the index tells. Until then nothing is promised, and programs hear of it.
"""

import logging
from collections.abc import Callable

import trio

from syncfs.engine.keeping.packing import Packer
from syncfs.index.index import Index
from syncfs.store.disk import DiskStore

HEAL_SECONDS = 5.0
"""How often it is looked whether anything has to be written anew, and tried."""

_log = logging.getLogger(__name__)


class Healer:
    """Writes anew what the disk refused."""

    def __init__(
        self, index: Index, store: DiskStore, packer: Packer, commit: Callable[[], None],
        healed: Callable[[], None], report: Callable[[Exception], None],
    ) -> None:  # fmt: skip
        """`healed` hears of each success, `report` of each try that failed."""
        self._index = index
        self._store = store
        self._packer = packer
        self._commit = commit
        self._healed = healed
        self._report = report

    @property
    def failure(self) -> str:
        """Why nothing is promised now, for `status`; empty when all is well."""
        return self._index.database.failure or self._store.failure

    async def run(self) -> None:
        """Look and try until cancelled."""
        while True:
            await trio.sleep(HEAL_SECONDS)
            try:
                if self._index.database.wants_renewal:
                    await self._renew_index()
                if self._store.wants_renewal:
                    await self._renew_store()
            except Exception as error:
                self._report(error)

    async def _renew_index(self) -> None:
        database = self._index.database
        if database.dirty:
            self._commit()
        database.begin_renewal()
        try:
            await trio.to_thread.run_sync(database.renew)
        finally:
            database.end_renewal()
        _log.warning("the index was written anew, since the disk had refused to write some of it")
        self._healed()

    async def _renew_store(self) -> None:
        if await self._packer.renew():
            _log.warning("chunks were written anew, since the disk had refused to write some of them")
            self._healed()
