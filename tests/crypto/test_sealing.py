"""Sealed content opens to what it was, and to nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncfs.crypto.keys import ReadKeys, derive_keys
from syncfs.crypto.sealing import JournalCipher, Sealer, address_of, check_address, open_segment, seal_segment
from syncfs.crypto.secrets import Kind, Secret
from syncfs.model.errors import BadChunkError, DamageError, ForeignError
from syncfs.model.ids import Address, ChunkId


def read_keys(number: int) -> ReadKeys:
    read = derive_keys(Secret(Kind.READER, bytes(15) + bytes([number, 0]))).read
    assert read is not None
    return read


READ, OTHER = read_keys(1), read_keys(2)
NONCE = b"n" * 24


@given(st.binary(max_size=5000))
def test_chunks_go_round(plain: bytes) -> None:
    sealed = Sealer(READ).seal(memoryview(plain))
    assert sealed == Sealer(READ).seal(plain)
    assert len(sealed.data) == len(plain) + 16
    check_address(sealed.address, memoryview(sealed.data))
    assert Sealer(READ).open(sealed.id, memoryview(sealed.data)) == plain


def test_shares_and_contents_look_unrelated() -> None:
    made = [Sealer(read).seal(plain) for read in (READ, OTHER) for plain in (b"one", b"two")]
    for part in ("id", "address", "data"):
        assert len({getattr(sealed, part) for sealed in made}) == 4
    assert repr(made[0].data) not in repr(made[0])


@given(st.data())
def test_a_bad_chunk_is_noticed(data: st.DataObject) -> None:
    sealed = Sealer(READ).seal(b"some content")
    bad = bytearray(sealed.data)
    bad[data.draw(st.integers(0, len(bad) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadChunkError):
        check_address(sealed.address, bad)
    with pytest.raises(BadChunkError):
        Sealer(READ).open(sealed.id, bad)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_bad_chunk(data: bytes) -> None:
    with pytest.raises(BadChunkError):
        Sealer(READ).open(ChunkId(bytes(32)), data)
    with pytest.raises(BadChunkError):
        check_address(Address(bytes(32)), data)


def test_only_the_right_keys_open() -> None:
    sealed = Sealer(READ).seal(b"content")
    with pytest.raises(BadChunkError):
        Sealer(OTHER).open(sealed.id, sealed.data)
    assert address_of(sealed.data) == sealed.address


@given(st.binary(max_size=500), st.binary(max_size=100), st.binary(min_size=24, max_size=24))
def test_segments_go_round(plain: bytes, public: bytes, nonce: bytes) -> None:
    sealed = seal_segment(READ, nonce, plain, public)
    assert len(sealed) == len(plain) + 40
    assert open_segment(READ, memoryview(sealed), memoryview(public)) == plain
    for read, data, shown in ((OTHER, sealed, public), (READ, sealed, public + b"x"), (READ, b"x" + sealed, public)):
        with pytest.raises(ForeignError):
            open_segment(read, data, shown)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_foreign_segment(data: bytes) -> None:
    with pytest.raises(ForeignError):
        open_segment(READ, data, b"")


def test_segment_nonces_make_other_keys() -> None:
    assert seal_segment(READ, NONCE, b"x", b"")[24:] != seal_segment(READ, bytes(24), b"x", b"")[24:]
    with pytest.raises(ValueError, match="24 bytes"):
        seal_segment(READ, bytes(12), b"x", b"")


def test_journal_entries() -> None:
    cipher = JournalCipher(bytes(32))
    data = cipher.seal(bytes(12), b"extent", b"offset")
    assert cipher.open(bytes(12), memoryview(data), b"offset") == b"extent"
    for nonce, entry, aad in (
        (b"x" * 12, data, b"offset"),
        (bytes(12), data[:-1], b"offset"),
        (bytes(12), b"", b"offset"),
        (bytes(12), data, b""),
    ):
        with pytest.raises(DamageError):
            cipher.open(nonce, entry, aad)
    with pytest.raises(DamageError):
        JournalCipher(b"k" * 32).open(bytes(12), data, b"offset")
