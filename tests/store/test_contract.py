"""Every chunk store keeps the contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncfs.store.contract import Catalogue, ChunkStore
from syncfs.store.disk import DiskStore
from syncfs.store.memory import MemoryCatalogue, MemoryStore
from tests.store.suite import StoreSuite


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def store(self) -> ChunkStore:
        return MemoryStore()


class TestDiskStore(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[ChunkStore]:
        catalogue: Catalogue = MemoryCatalogue()
        with DiskStore(tmp_path, catalogue) as store:
            yield store


class TestDiskStoreWithSmallPacks(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[ChunkStore]:
        with DiskStore(tmp_path, MemoryCatalogue(), pack_bytes=50_000) as store:
            yield store
