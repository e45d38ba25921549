"""Processes killed by SIGKILL and losses of power: what was acknowledged is there, and the rest is tidied away."""

import random
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from syncfs.model.errors import DamageError
from syncfs.model.ids import Address
from syncfs.store.contract import verify
from syncfs.store.disk import DiskStore
from syncfs.store.journal import Extent, replay
from syncfs.store.layout import Layout
from syncfs.store.memory import MemoryCatalogue
from tests.store import victim
from tests.store.suite import chunk

ROUNDS = 5


def killed(what: str, path: Path, seed: int) -> int:
    """Let the victim work, kill it somewhere, and return what it last acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.victim", what, str(path), str(seed)], stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        wanted = random.Random(seed).randrange(1, 40)
        lines = [process.stdout.readline() for _ in range(wanted)]
        process.kill()
        lines += process.stdout.readlines()
    return int([line for line in lines if line.endswith(b"\n")][-1])


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_killed_store_has_every_acknowledged_chunk(tmp_path: Path, seed: int) -> None:
    acknowledged = killed("store", tmp_path, seed)
    catalogue = MemoryCatalogue()
    with DiskStore(tmp_path, catalogue, pack_bytes=victim.PACK_BYTES) as store:
        assert store.unclean
        recovery = store.recover(now=1)
        for number in range(acknowledged):
            address, data = chunk(number, victim.size_of(number))
            if not victim.removed_after(number):
                assert store.get(address) == data
        assert all(damage.tail for damage in recovery.damage)
        assert not list((tmp_path / "chunks/incoming").iterdir())
        for address in catalogue:
            verify(address, store.get(address) or b"")
        store.put(*chunk(-1, 500), now=1)
        store.remove([address for address in catalogue if address[0] % 2])
        while store.compact(lambda: None):
            pass
        for address in catalogue:
            verify(address, store.get(address) or b"")
    with DiskStore(tmp_path, catalogue) as store:
        assert not store.unclean


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_killed_journal_has_every_acknowledged_write(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "one"
    acknowledged = killed("journal", path, seed)
    found = replay(path, victim.CIPHER)
    assert found is not None
    with found:
        assert not found.damage
        states: list[bytes] = []
        content = bytearray()
        for number in range(1, acknowledged + 20):
            offset, data = victim.write_at(number)
            content.extend(bytes(max(offset - len(content), 0)))
            content[offset : offset + len(data)] = data
            if number >= acknowledged:
                states.append(bytes(content))
            if number % 5 == 0:
                del content[100_000:]
                content.extend(bytes(100_000 - len(content)))
                if number >= acknowledged:
                    states.append(bytes(content))
        extents = Layout(0, found.entries)
        read = bytearray(extents.size)
        for piece in extents.written():
            if isinstance(piece.source, Extent):
                skip = piece.start - piece.source.offset
                read[piece.start : piece.stop] = found.read(piece.source)[skip : skip + piece.stop - piece.start]
        assert bytes(read) in states or _is_cut_write(bytes(read), states)


def _is_cut_write(read: bytes, states: list[bytes]) -> bool:
    """Whether a kill left the first pieces of one write: it is cut at multiples of 128 KiB of the file's offset."""
    return any(
        read[:cut] == after[:cut] and read[cut:] == (before + bytes(len(after)))[cut : len(read)]
        for before, after in pairwise(states)
        for cut in range(0, len(after) + 1, 128 * 1024)
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_loss_of_power_takes_only_what_was_not_synced(tmp_path: Path, seed: int) -> None:
    """The disk keeps what was synced; of the rest it keeps some blocks, zeros others, and forgets some names."""
    source = random.Random(seed)
    catalogue = MemoryCatalogue()
    with DiskStore(tmp_path / "one", catalogue, pack_bytes=200_000) as store:
        numbers = iter(range(seed * 1000, seed * 1000 + 1000))
        safe: dict[Address, bytes] = {}
        for _ in range(source.randrange(1, 30)):
            number = next(numbers)
            safe.update([chunk(number, victim.size_of(number))])
        for address, data in safe.items():
            store.put(address, data, now=1)
        store.sync()
        synced = {path: path.stat().st_size for path in (tmp_path / "one").rglob("*") if path.is_file()}
        for _ in range(source.randrange(1, 30)):
            number = next(numbers)
            store.put(*chunk(number, victim.size_of(number)), now=2)
        lost = tmp_path / "two"
        shutil.copytree(tmp_path / "one", lost)
    for path in list(lost.rglob("*")):
        if path.is_file():
            _lose(path, synced.get(tmp_path / "one" / path.relative_to(lost)), source)
    with DiskStore(lost, catalogue, pack_bytes=200_000) as store:
        assert store.unclean
        store.recover(now=3)
        for address, data in safe.items():
            assert store.get(address) == data
        for address in list(catalogue):
            try:
                verify(address, store.get(address) or b"")
            except DamageError:
                assert address not in safe
                store.quarantine(address)
        number = next(numbers)
        store.put(*chunk(number, 1000), now=4)
        for address in catalogue:
            verify(address, store.get(address) or b"")


def _lose(path: Path, synced: int | None, source: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for start in range(synced or 0, len(data), 4096):
        if source.random() < 0.3:
            stop = min(start - start % 4096 + 4096, len(data))
            data[start:stop] = bytes(stop - start)
    if source.random() < 0.5:
        del data[source.randrange(synced or 0, len(data) + 1) :]
    if synced is None and source.random() < 0.3:
        path.unlink()
    else:
        path.write_bytes(data)


@pytest.mark.parametrize("what", ["bytes", "the name of the pack"])
def test_what_was_noted_and_never_reached_the_disk_is_forgotten(tmp_path: Path, what: str) -> None:
    catalogue, chunks = MemoryCatalogue(), [chunk(number, 700) for number in range(6)]
    with DiskStore(tmp_path / "one", catalogue, pack_bytes=3000) as store:
        for address, data in chunks:
            store.put(address, data, now=1)
        killed = shutil.copytree(tmp_path / "one", tmp_path / "two")
    last = max((killed / "packs").iterdir())
    assert last.name == "000002.pack"
    if what == "bytes":
        last.write_bytes(last.read_bytes()[:-1000] + bytes(1000))
    else:
        last.unlink()
    with DiskStore(killed, catalogue, pack_bytes=3000) as store:
        assert all(catalogue.find(address) for address, _ in chunks)
        assert store.recover(now=5).lost == 2
        for address, data in chunks:
            assert store.get(address) in (data, None)
            if catalogue.find(address) is None:
                store.put(address, data, now=6)
            assert store.get(address) == data
        while store.compact(lambda: None):
            pass
        assert [store.get(address) for address, _ in chunks] == [data for _, data in chunks]
