"""Bytes that were written once and must be readable for ever: packs of format 1, journals of formats 1 and 2."""

from pathlib import Path

from syncfs.crypto.sealing import JournalCipher, address_of
from syncfs.store.disk import DiskStore
from syncfs.store.journal import Extent, Journal, Marked, Truncated, replay
from syncfs.store.memory import MemoryCatalogue

CHUNKS = (b"first sealed chunk", b"second sealed chunk")
PACK = bytes.fromhex(
    "73796e636673207061636b0a00000001a71c4bf30000001290f4c909d7fa49f313580be21ac799a1f3f1fc09752fa7c3aa60"
    "d883203685b0c36a680a6669727374207365616c6564206368756e6ba71c4bf30000001384e77eee24bcbf906398b209d7ad"
    "ee41043fae4fcf9dafcd7077a5d4de941b2a464426f87365636f6e64207365616c6564206368756e6b"
)
JOURNAL = bytes.fromhex(
    "73796e6366734a016465666768696a6b6c6d6e6f000000062c7eb80111803cf5520f3187aa14188e36b7707df3158909dbac"
    "d2377b2227cbfc8c21a4296030edc741cce5cd109b61859b96b4bf9cb51e9a6a010000000000000700000000000003e80000"
    "000000000000000000000000000036cfa1843f0895e615fbdb1816ac22d6adf1912c7deb1306a50063b51e9a6a0200000000"
    "00000000000000000003eb00000000000000000000000000000001151d3e81e29b1ebf23b4a82ba765ae81bc32a167b51e9a"
    "6a0100000000000004000000000000000000000000000000c50000000000000002da833ee6b5c237518fb8f1516763cc1a33"
    "b5f1c9f11f00aa"
)
JOURNAL_2 = bytes.fromhex(
    "73796e6366734a026465666768696a6b6c6d6e6f000000062c7eb80111803cf5520f3187aa14188e36b7707df3158909dbac"
    "d2377b2227cbfc8c21a429607bbf97bb753ba8cf582fac28e5b43dbfb51e9a6a010000000000000700000000000003e80000"
    "000000000000000000000000000036cfa1843f0895e615fbdb1816ac22d6adf1912c7deb1306a50063b51e9a6a0300000000"
    "000003000000000000000000000000000000000000000000000001474fd8e686ea1c72b9e03f6ef5dd6a6e950502674b7555"
    "b51e9a6a0100000000000004000000000000000000000000000000c800000000000000022bccd9b1b5c2375110cd5c9f3a42"
    "835bac7ccdbe8610501ab51e9a6a040000000000000300000000000000c800000000000000c800000000000000031311eb8d"
    "d0da55505f0607f6bfbc5ee69f6c3912abf838b51e9a6a0300000000000005000000000000000000000000000000c8000000"
    "00000000045fe1e19f38e390119bb6508a2a8eeffa73a6a828b972d6915b"
)
CIPHER = JournalCipher(bytes(range(32)))


def counted(size: int) -> bytes:
    """What the journal of the museum drew instead of random bytes."""
    return bytes(range(100, 100 + size))


def test_packs_of_format_1(tmp_path: Path) -> None:
    with DiskStore(tmp_path / "new", MemoryCatalogue()) as store:
        for data in CHUNKS:
            store.put(address_of(data), data, now=1)
    assert (tmp_path / "new/packs/000001.pack").read_bytes() == PACK
    assert (tmp_path / "new/store.format").read_text() == "syncfs store 1\n"
    (tmp_path / "old/packs").mkdir(parents=True)
    (tmp_path / "old/packs/000001.pack").write_bytes(PACK)
    with DiskStore(tmp_path / "old", MemoryCatalogue()) as store:
        assert store.recover(now=1).adopted == 2
        assert [store.get(address_of(data)) for data in CHUNKS] == list(CHUNKS)


def test_journals_of_format_1(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(JOURNAL)
    found = replay(tmp_path / "old", CIPHER)
    assert found is not None
    with found:
        assert found.header == b"header"
        first, truncated, last = found.entries
        assert isinstance(first, Extent)
        assert isinstance(last, Extent)
        assert (first.offset, found.read(first)) == (1000, b"content")
        assert truncated == Truncated(1003)
        assert (last.offset, found.read(last)) == (0, b"more")


def test_journals_of_format_2(tmp_path: Path) -> None:
    with Journal(tmp_path / "new", CIPHER, b"header", counted) as journal:
        journal.append(1000, b"content")
        journal.mark(b"one")
        journal.sync()
        start = journal.size
        journal.append(0, b"more")
        journal.begin_anew(start, b"two")
        journal.mark(b"three")
    assert (tmp_path / "new").read_bytes() == JOURNAL_2
    (tmp_path / "old").write_bytes(JOURNAL_2)
    found = replay(tmp_path / "old", CIPHER)
    assert found is not None
    with found:
        mark, last, other = found.entries
        assert isinstance(last, Extent)
        assert isinstance(other, Marked)
        assert (mark, other.data) == (Marked(b"two", start), b"three")
        assert (last.offset, found.read(last)) == (0, b"more")
