"""What another peer changes is visible at once although the kernel keeps everything for ever."""

import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.mounting import MemoryMount, memory_mount

pytestmark = pytest.mark.fuse


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryMount]:
    with memory_mount(tmp_path_factory.mktemp("mount")) as mount:
        yield mount


def test_content_and_size(mount: MemoryMount) -> None:
    path = mount / "content"
    mount.remote_write("content", "first")
    assert path.read_text() == "first"
    mount.remote_write("content", "FIRST")
    assert path.read_text() == "FIRST"
    mount.remote_write("content", "longer than before")
    assert path.stat().st_size == 18
    assert path.read_text() == "longer than before"
    mount.remote_write("content", "short")
    assert (path.stat().st_size, path.read_text()) == (5, "short")


def test_content_under_an_open_file(mount: MemoryMount) -> None:
    mount.remote_write("tail", "one\n")
    with (mount / "tail").open() as file:
        assert file.read() == "one\n"
        mount.remote_write("tail", "one\ntwo\n")
        assert os.fstat(file.fileno()).st_size == 8
        assert file.read() == "two\n"
        file.seek(0)
        mount.remote_write("tail", "ONE\nTWO\n")
        assert file.read() == "ONE\nTWO\n"


def test_content_that_changes_without_its_times(mount: MemoryMount) -> None:
    mount.remote_write("sly", "before")
    path = mount / "sly"
    with path.open() as file:
        assert file.read() == "before"
        mount.remote_write("sly", "BEFORE", keep_times=True)
        assert path.read_text() == "BEFORE"
        mount.remote_write("sly", "after!", keep_times=True)
    assert mount.ask("told")
    assert path.read_text() == "after!"


def test_entries_appear_move_and_vanish(mount: MemoryMount) -> None:
    path, other = mount / "come", mount / "gone"
    assert not path.exists()
    mount.remote_write("come", "here")
    assert path.read_text() == "here"
    assert not other.exists()
    mount.remote("remote_move", "come", "gone")
    assert not path.exists()
    assert other.read_text() == "here"
    mount.remote("remote_remove", "gone")
    assert not other.exists()
    assert other not in mount.directory.iterdir()


def test_a_directory_stays_usable_when_it_moves(mount: MemoryMount) -> None:
    (mount / "from").mkdir()
    (mount / "from/kept").write_text("x")
    descriptor = os.open(mount / "from", os.O_RDONLY)
    try:
        mount.remote("remote_move", "from", "to")
        assert not (mount / "from").exists()
        (mount / "to/new").write_text("y")
        assert sorted(entry.name for entry in os.scandir(descriptor)) == ["kept", "new"]
    finally:
        os.close(descriptor)


def test_the_parents_times_follow(mount: MemoryMount) -> None:
    place = mount / "parent"
    place.mkdir()
    before = place.stat().st_mtime_ns
    mount.remote_write("parent/child", "x")
    assert place.stat().st_mtime_ns > before


def test_attributes(mount: MemoryMount) -> None:
    mount.remote_write("mode", "x")
    assert stat.S_IMODE((mount / "mode").stat().st_mode) == 0o644
    mount.remote("remote_mode", "mode", 0o600)
    assert stat.S_IMODE((mount / "mode").stat().st_mode) == 0o600


def test_links_of_a_removed_name_are_counted(mount: MemoryMount) -> None:
    mount.remote_write("first", "x")
    os.link(mount / "first", mount / "second")
    assert (mount / "second").stat().st_nlink == 2
    mount.remote("remote_remove", "first")
    assert (mount / "second").stat().st_nlink == 1
    assert (mount / "second").read_text() == "x"


def test_a_change_during_a_read_in_flight_holds_nobody_up(tmp_path: Path) -> None:
    with memory_mount(tmp_path) as mount:
        mount.remote_write("held", "in flight")
        content: list[str] = []
        reader = threading.Thread(target=lambda: content.append((mount / "held").read_text()))
        reader.start()
        while "held" not in mount.ask("calls"):
            time.sleep(0.01)
        mount.remote_write("held", "IN FLIGHT")
        mount.remote("say_changed", "held")
        mount.remote_write("other", "x")
        assert (mount / "other").read_text() == "x"
        assert not content, "the read still waits"
        mount.ask("let_go")
        reader.join(10)
        assert content == ["IN FLIGHT"]


def test_dropping_pages_that_are_being_read_waits_in_the_thread_only(tmp_path: Path) -> None:
    with memory_mount(tmp_path) as mount:
        mount.remote_write("held", "in flight")
        content: list[str] = []
        reader = threading.Thread(target=lambda: content.append((mount / "held").read_text()))
        reader.start()
        while "held" not in mount.ask("calls"):
            time.sleep(0.01)
        # What the trap is about: pages dropped although the file is open.
        mount.ask("drop_pages", "held")
        for number in range(50):
            assert not (mount / f"none-{number}").exists()
        assert not content, "the read still waits"
        mount.ask("let_go")
        reader.join(10)
        assert content == ["in flight"]
        assert mount.ask("told") is True
