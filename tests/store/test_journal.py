"""The journal against a bytearray, whole and torn, and what it says about damage."""

import ctypes
import errno
import random
import resource
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncfs.crypto.sealing import JournalCipher
from syncfs.model.errors import DamageError, NewerFormatError, SetupError
from syncfs.store.journal import Extent, Journal, Marked, Replay, Truncated, replay
from syncfs.store.journalformat import PIECE, RECORD_BYTES
from syncfs.store.layout import Layout, Source

CIPHER = JournalCipher(bytes(range(32)))
HEADER = b"node and base version"
BASE = bytes(range(1, 251))


def begin(path: Path, seed: int = 1) -> Journal:
    return Journal(path, CIPHER, HEADER, random.Random(seed).randbytes)


def reopened(path: Path) -> Replay:
    found = replay(path, CIPHER)
    assert found is not None
    return found


def content(found: Replay, base: bytes = b"") -> bytes:
    """The file as a replay makes it, read piece by piece."""
    extents = Layout(len(base), [one for one in found.entries if not isinstance(one, Marked)])
    parts = []
    for piece in extents.pieces(0, extents.size):
        match piece.source:
            case Source.BASE:
                parts.append(base[piece.start : piece.stop])
            case Source.ZEROS:
                parts.append(bytes(piece.stop - piece.start))
            case Extent() as extent:
                parts.append(found.read(extent)[piece.start - extent.offset : piece.stop - extent.offset])
    return b"".join(parts)


class Model:
    """A file as everybody knows it."""

    def __init__(self, base: bytes = b"") -> None:
        self.data = bytearray(base)

    def write(self, offset: int, data: bytes) -> None:
        if data:
            self.data.extend(bytes(max(offset - len(self.data), 0)))
            self.data[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))


def test_gives_back_header_and_entries_in_order(tmp_path: Path) -> None:
    path = tmp_path / "one"
    with begin(path) as journal:
        first = journal.append(5, b"hello")
        journal.truncate(7)
        journal.sync()
        second = journal.append(0, memoryview(b"abc"))
        assert journal.read(first[0]) == b"hello"
        assert journal.size == path.stat().st_size
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"hello" not in path.read_bytes()
    assert HEADER not in path.read_bytes()
    with reopened(path) as found:
        assert found.header == HEADER
        assert found.entries == (*first, Truncated(7), *second)
        assert (found.damage, found.torn) == ((), 0)
        assert content(found) == b"abc\0\0he"


def test_cuts_long_writes_so_that_a_little_is_read_back_cheaply(tmp_path: Path) -> None:
    data = random.Random(2).randbytes(1024 * 1024)
    with begin(tmp_path / "one") as journal:
        extents = journal.append(100, data)
        assert [extent.size for extent in extents] == [PIECE - 100, *[PIECE] * 7, 100]
        assert b"".join(map(journal.read, extents)) == data
        assert journal.append(3, b"") == []
    with reopened(tmp_path / "one") as found:
        assert content(found) == bytes(100) + data


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 400), st.binary(max_size=120)),
        st.tuples(st.just("truncate"), st.integers(0, 500), st.just(b"")),
        st.tuples(st.just("sync"), st.just(0), st.just(b"")),
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OPERATIONS, st.data())
def test_shows_what_a_bytearray_shows(
    tmp_path: Path, operations: list[tuple[str, int, bytes]], data: st.DataObject
) -> None:
    path = tmp_path / "one"
    path.unlink(missing_ok=True)
    model, states = Model(BASE), []
    live = Layout(len(BASE))
    with begin(path) as journal:
        states.append((journal.size, bytes(model.data)))
        promised = 0
        for name, number, written in operations:
            match name:
                case "write":
                    for extent in journal.append(number, written):
                        live.write(extent)
                    model.write(number, written)
                case "truncate":
                    journal.truncate(number)
                    live.truncate(number)
                    model.truncate(number)
                case _:
                    journal.sync()
                    promised = journal.size
            states.append((journal.size, bytes(model.data)))
        assert live.size == len(model.data)
        assert [piece.start for piece in live.pieces(0, live.size)][1:] == [
            piece.stop for piece in live.pieces(0, live.size)
        ][:-1]
        end = journal.size
    with reopened(path) as found:
        assert content(found, BASE) == model.data
    broken = data.draw(st.integers(promised, end), label="broken from here on")
    bytes_after = data.draw(st.binary(min_size=end - broken, max_size=end - broken), label="instead")
    if broken >= states[0][0]:
        original = path.read_bytes()
        path.write_bytes(original[:broken] + bytes_after)
        with reopened(path) as found:
            assert not found.damage
            reachable = [state for size, state in states if size <= broken][-1]
            assert content(found, BASE) == reachable or bytes_after[:1] == original[broken : broken + 1]


def test_a_tail_torn_at_any_byte_costs_only_the_torn_record(tmp_path: Path) -> None:
    path, torn = tmp_path / "one", tmp_path / "torn"
    model, states = Model(BASE), []
    with begin(path) as journal:
        head = journal.size
        states.append((head, bytes(model.data)))
        for number in range(6):
            if number == 3:
                journal.truncate(20)
                model.truncate(20)
            else:
                journal.append(number * 30, bytes([number + 65]) * (number * 7))
                model.write(number * 30, bytes([number + 65]) * (number * 7))
            states.append((journal.size, bytes(model.data)))
            if number in (1, 4):
                journal.sync()
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        rest = len(whole) - cut
        for tail in (b"", bytes(rest), b"\xb5" * rest):
            torn.write_bytes(whole[:cut] + tail)
            if cut < head:
                with suppress(DamageError):
                    assert replay(torn, CIPHER) is None
                continue
            found = replay(torn, CIPHER)
            assert found is not None
            with found:
                size, state = next((size, state) for size, state in reversed(states) if size <= cut)
                assert content(found, BASE) == state
                assert found.torn == len(whole[:cut] + tail) - size
                assert not found.damage


def test_damage_to_what_was_promised_is_reported_and_the_rest_still_counts(tmp_path: Path) -> None:
    path = tmp_path / "one"
    with begin(path) as journal:
        start = journal.size
        (lost,) = journal.append(0, b"0123456789")
        stop = journal.size
        journal.sync()
        (kept,) = journal.append(5, b"abc")
    whole = path.read_bytes()
    for position in range(start, stop):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with reopened(path) as found:
            assert found.entries == (kept,)
            (damage,) = found.damage
            assert (damage.position, damage.size) == (start, stop - start)
            if position >= start + 40:
                assert damage.extent == lost
            with pytest.raises(DamageError):
                found.read(lost)
    path.write_bytes(bytes(start) + whole[start:])
    with pytest.raises(DamageError):
        replay(path, CIPHER)


def test_a_broken_record_that_was_not_promised_ends_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "one"
    with begin(path) as journal:
        (first,) = journal.append(0, b"promised")
        journal.sync()
        torn = journal.size
        journal.append(0, b"lost")
        journal.append(0, b"written after what was lost")
        end = journal.size
    whole = path.read_bytes()
    path.write_bytes(whole[: torn + 10] + b"!" + whole[torn + 11 :])
    with reopened(path) as found:
        assert found.entries == (first,)
        assert (found.torn, found.damage) == (end - torn, ())


def test_records_of_other_places_and_journals_do_not_count(tmp_path: Path) -> None:
    path, other = tmp_path / "one", tmp_path / "two"
    with begin(path) as journal, begin(other, seed=2) as foreign:
        start = journal.size
        journal.append(0, b"first")
        foreign.append(0, b"other")
    record, strange = path.read_bytes()[start:], other.read_bytes()[start:]
    for tail in (record, strange):
        path.write_bytes(path.read_bytes()[: start + len(record)] + tail)
        with reopened(path) as found:
            assert content(found) == b"first"
            assert found.torn == len(tail)


def test_a_wrong_key_and_a_newer_format_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "one"
    begin(path).close()
    with pytest.raises(DamageError):
        replay(path, JournalCipher(bytes(32)))
    data = bytearray(path.read_bytes())
    data[7] += 1
    path.write_bytes(data)
    with pytest.raises(NewerFormatError):
        replay(path, CIPHER)
    with pytest.raises(SetupError):
        begin(path)


def test_replaying_needs_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "one"
    data = random.Random(3).randbytes(1024 * 1024)
    with begin(path) as journal:
        for number in range(24):
            journal.append(number * len(data), data)
    del journal
    tracemalloc.start()
    with reopened(path) as found:
        assert len(found.entries) == 24 * 8
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    tracemalloc.stop()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond `size`: the kernel's own way of running out of space."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_for_which_there_is_no_room_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "one"
    with begin(path) as journal:
        journal.append(0, b"before")
        size = journal.size
        with file_size_limit(size + RECORD_BYTES + 100), pytest.raises(SetupError, match="full"):
            journal.append(0, bytes(1000))
        assert path.stat().st_size == journal.size == size
        journal.append(6, b" after")
        journal.sync()
    with reopened(path) as found:
        assert content(found) == b"before after"


def test_a_sync_without_the_file_fails_for_ever(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.mkdir()
    journal = begin(folder / "one")
    journal.append(0, b"x")
    (folder / "one").unlink()
    for _ in range(2):
        with pytest.raises(SetupError):
            journal.sync()
    with pytest.raises(SetupError):
        journal.append(0, b"x")
    journal.remove()


def test_what_stands_before_a_mark_can_be_given_back(tmp_path: Path) -> None:
    path = tmp_path / "one"
    with begin(path) as journal:
        journal.append(0, bytes(PIECE))
        position = journal.mark(b"a version")
        journal.sync()
        (after,) = journal.append(7, b"after")
        before = path.stat().st_blocks * 512
        journal.discard(position)
        journal.discard(position)
        assert path.stat().st_blocks * 512 < before - PIECE // 2
        assert path.stat().st_size == journal.size
        assert journal.kept < journal.size - PIECE
        assert journal.read(after) == b"after"
    with reopened(path) as found:
        assert found.entries == (Marked(b"a version", position), after)
        assert [one.position < position for one in found.damage] == [True]
        assert found.torn == 0


def test_a_journal_that_began_anew_tells_only_what_it_told_again(tmp_path: Path) -> None:
    path = tmp_path / "one"
    with begin(path) as journal:
        journal.append(0, b"long ago")
        journal.sync()
        start = journal.size
        (again,) = journal.append(2, b"again")
        journal.sync()
        torn = journal.size
        journal.begin_anew(start, b"a version")
        journal.sync()
        end = journal.size
        (last,) = journal.append(0, b"last")
        journal.discard(start)
    with reopened(path) as found:
        assert found.entries == (Marked(b"a version", start), again, last)
        assert found.damage == ()
    for cut in (torn, end - 1):  # a crash before all of it was there, when nothing was given back yet
        with begin(tmp_path / str(cut)) as journal:
            (first,) = journal.append(0, b"long ago")
            journal.sync()
            journal.append(2, b"again")
            journal.sync()
            journal.begin_anew(start, b"a version")
        whole = (tmp_path / str(cut)).read_bytes()
        (tmp_path / str(cut)).write_bytes(whole[:cut])
        with reopened(tmp_path / str(cut)) as found:
            assert found.entries == (first, again)


def test_a_file_system_that_gives_nothing_back_costs_nothing_but_the_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Libc:
        def __init__(self, *words: object, **more: object) -> None:
            pass

        def fallocate(self, *words: object) -> int:
            ctypes.set_errno(errno.EOPNOTSUPP)
            return -1

    with begin(tmp_path / "one") as journal:
        journal.append(0, b"before")
        position = journal.mark(b"")
        journal.sync()
        monkeypatch.setattr("syncfs.store.journal.ctypes.CDLL", Libc)
        journal.discard(position)
        assert not journal.gives_back
        assert journal.kept == journal.size
    with reopened(tmp_path / "one") as found:
        assert content(found) == b"before"
