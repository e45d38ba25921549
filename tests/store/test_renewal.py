"""Packs of which a sync failed: what lives in them is written anew before anything is promised again."""

import errno
import os
from pathlib import Path

import pytest

from syncfs.model.errors import SetupError
from syncfs.store.disk import DiskStore
from syncfs.store.memory import MemoryCatalogue
from tests.store.suite import chunk


def refuse(descriptor: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def fail(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk refuses to write what was put into the store, once."""
    with monkeypatch.context() as failing, pytest.raises(SetupError):
        failing.setattr("syncfs.store.packs.os.fdatasync", refuse)
        store.sync()


def renew(store: DiskStore) -> None:
    doubtful = store.in_doubt()
    assert doubtful is not None
    store.believe(doubtful, store.renew(doubtful))
    store.unlink(store.emptied())


def packs(directory: Path) -> list[str]:
    return sorted(path.stem for path in directory.glob("packs/*"))


def test_nothing_is_promised_before_it_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = MemoryCatalogue()
    chunks = dict(chunk(number, 1000) for number in range(20))
    with DiskStore(tmp_path, catalogue) as store:
        for number, (address, data) in enumerate(chunks.items()):
            if number == 10:
                store.sync()
            store.put(address, data, now=1)
        fail(store, monkeypatch)
        assert store.wants_renewal
        late = chunk(21, 1000)
        store.put(*late, now=1)
        with pytest.raises(SetupError, match="refused to write"):
            store.sync()
        for _ in range(3):
            with monkeypatch.context() as failing, pytest.raises(SetupError, match="refused to write"):
                failing.setattr("syncfs.store.packs.os.fdatasync", refuse)
                renew(store)
        renew(store)
        assert not store.wants_renewal
        store.sync()
        chunks |= dict([late])
        assert {address: store.get(address) for address in chunks} == chunks
        assert len(packs(tmp_path)) == 1, "what failed tries wrote is gone"
    with DiskStore(tmp_path, catalogue) as store:
        assert not store.unclean
        assert {address: store.get(address) for address in chunks} == chunks


def test_it_waits_for_what_is_not_recorded_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DiskStore(tmp_path, MemoryCatalogue()) as store:
        first, second, third = chunk(1, 1000), chunk(2, 1000), chunk(3, 1000)
        places = [store.write(*one) for one in (first, second, third)]
        fail(store, monkeypatch)
        assert store.in_doubt() is None
        store.record(first[0], places[0], 1)
        assert store.in_doubt() is None
        store.abandon(places[1:])
        renew(store)
        store.sync()
        assert store.get(first[0]) == first[1]
        assert store.locate(first[0]) != places[0]


def test_a_catalogue_that_refuses_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(MemoryCatalogue):
        left = 1

        def add(self, *words: object) -> None:
            if not self.left:
                raise SetupError("the index is full")
            self.left -= 1
            super().add(*words)  # type: ignore[arg-type]

    catalogue = Refusing()
    chunks = [chunk(number, 1000) for number in range(3)]
    with DiskStore(tmp_path, catalogue) as store:
        places = store.write_many(chunks)
        with pytest.raises(SetupError, match="full"):
            store.record_all(zip((address for address, _ in chunks), places, strict=True), 1)
        catalogue.left = 10
        fail(store, monkeypatch)
        renew(store)
        store.sync()
        assert [store.get(address) for address, _ in chunks] == [chunks[0][1], None, None]


def test_it_gives_up_where_a_chunk_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DiskStore(tmp_path, MemoryCatalogue())
    for number in range(3):
        store.put(*chunk(number, 1000), now=1)
    fail(store, monkeypatch)
    place = store.locate(chunk(1, 1000)[0])
    assert place is not None
    with (tmp_path / "packs/000001.pack").open("r+b") as pack:
        pack.seek(place.offset)
        pack.write(bytes(100))
    with pytest.raises(SetupError, match="start syncfs again"):
        renew(store)
    assert not store.wants_renewal
    with pytest.raises(SetupError, match="start syncfs again"):
        store.sync()
    with pytest.raises(SetupError, match="start syncfs again"):
        store.close()
