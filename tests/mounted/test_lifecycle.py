"""Mounting and unmounting: what is refused, what is healed, what ends in order."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncfs.model.errors import BusyError, UnavailableError, UsageError
from syncfs.mount import mountpoint, table
from syncfs.mount.umount import unmount
from tests.end_to_end.peer import until
from tests.mounted.mounting import MemoryMount, detach, memory_mount

pytestmark = pytest.mark.fuse


def test_unmounting_from_outside_ends_the_process_and_releases_what_is_open(tmp_path: Path) -> None:
    with memory_mount(tmp_path) as mount:
        (mount / "file").write_text("x")
        waited: list[float] = []
        unmount(mount.directory, pid=mount.process.pid, timeout=10, waiting=waited.append)
        assert mount.process.wait(5) == 0
        assert "cut off" not in mount.log.read_text()
        ending = mount.hear()
        assert len(ending["released"]) == 1
        assert list(mount.directory.iterdir()) == []


def test_a_busy_mount_is_not_unmounted_and_the_users_are_named(tmp_path: Path) -> None:
    with memory_mount(tmp_path) as mount:
        holder = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], cwd=mount.directory, stdin=-1)
        try:
            with pytest.raises(BusyError, match=rf"is in use: .*python.* \({holder.pid}\)"):
                unmount(mount.directory, pid=mount.process.pid)
            assert (mount / ".").exists()
        finally:
            holder.communicate()
        unmount(mount.directory, pid=mount.process.pid)


@pytest.mark.root
def test_a_mount_below_is_named(tmp_path: Path) -> None:
    with memory_mount(tmp_path) as mount:
        below = mount / "below"
        below.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", below], check=True)
        try:
            with pytest.raises(BusyError, match=f"in use: {below} is mounted below it, unmount that first"):
                unmount(mount.directory, pid=mount.process.pid)
        finally:
            subprocess.run(["umount", below], check=True)
        unmount(mount.directory, pid=mount.process.pid)


def test_a_signal_ends_a_busy_mount_and_commits_what_was_written(tmp_path: Path) -> None:
    with memory_mount(tmp_path) as mount:
        file = (mount / "open").open("w")
        file.write("unfinished")
        file.flush()
        mount.process.send_signal(signal.SIGTERM)
        # Detached at once, but whoever has a file open is still answered for a while.
        until(lambda: table.mounted_at(str(mount.directory)) is None, "it is detached")
        file.write("more")
        file.flush()
        ending = mount.hear()
        assert mount.process.wait(20) == 0
        assert len(ending["released"]) == 1
        with pytest.raises(OSError, match="not connected"):
            os.fstat(file.fileno())
            file.close()


@pytest.mark.root
@pytest.mark.parametrize("how", ["signal", "umount"])
def test_what_somebody_has_mounted_over_a_mount_stays(tmp_path: Path, how: str) -> None:
    with memory_mount(tmp_path) as mount:
        subprocess.run(["mount", "-t", "tmpfs", "over", str(mount.directory)], check=True)
        try:
            (mount / "precious").write_text("x")
            if how == "umount":
                with pytest.raises(UsageError, match="no share is mounted"):
                    unmount(mount.directory, pid=mount.process.pid)
            mount.process.send_signal(signal.SIGTERM)
            assert mount.process.wait(20) == 0
            assert (mount / "precious").read_text() == "x"
            assert "something else is mounted over" in mount.log.read_text()
        finally:
            subprocess.run(["umount", str(mount.directory)], check=True)
        assert mountpoint.is_dead(str(mount.directory))


def test_unmounting_while_others_work(tmp_path: Path) -> None:
    with memory_mount(tmp_path) as mount:
        program = (
            "import os, sys\n"
            "try:\n"
            "    while True:\n"
            "        open(sys.argv[1] + '/busy', 'w').write('x')\n"
            "        os.listdir(sys.argv[1])\n"
            "except OSError: pass\n"
        )
        workers = [subprocess.Popen([sys.executable, "-c", program, str(mount.directory)]) for _ in range(3)]
        try:
            time.sleep(1)
            mount.process.terminate()
            assert mount.process.wait(20) == 0
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        assert table.mounted_at(str(mount.directory)) is None


def test_a_dead_mount_is_healed(tmp_path: Path) -> None:
    with memory_mount(tmp_path) as mount:
        mount.process.kill()
        mount.process.wait()
        with pytest.raises(OSError, match="not connected"):
            os.statvfs(mount.directory)
        with memory_mount(tmp_path) as healed:
            (healed / "file").write_text("alive")
            assert len([found for found in table.mounts() if found.directory == str(healed.directory)]) == 1


CONNECTIONS = Path("/sys/fs/fuse/connections")


@pytest.fixture
def connections() -> Iterator[Path]:
    """The kernel's own view of its FUSE connections, a folder each."""
    if any(found.directory == str(CONNECTIONS) for found in table.mounts()):
        yield CONNECTIONS
        return
    subprocess.run(["mount", "-t", "fusectl", "none", CONNECTIONS], check=True)
    try:
        yield CONNECTIONS
    finally:
        subprocess.run(["umount", CONNECTIONS], check=True)


@pytest.mark.root
def test_the_kernel_cutting_a_mount_off_is_an_error_and_leaves_it_dead(tmp_path: Path, connections: Path) -> None:
    with memory_mount(tmp_path) as mount:
        minor = os.minor(mount.directory.stat().st_dev)
        (connections / str(minor) / "abort").write_text("1")
        assert mount.process.wait(20) != 0
        assert "was cut off: mount it again" in mount.log.read_text()
        with pytest.raises(OSError, match="not connected"):
            os.statvfs(mount.directory)
        detach(mount.directory)


def test_the_same_place_is_not_mounted_twice(tmp_path: Path) -> None:
    with memory_mount(tmp_path, source="photos") as mount:
        with pytest.raises(BusyError, match="already has the share 'photos' mounted"):
            mountpoint.prepare(mount.directory)


def test_what_cannot_be_mounted_on_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist: make the directory first"):
        mountpoint.prepare(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is not a directory"):
        mountpoint.prepare(tmp_path / "file")
    with pytest.raises(UsageError, match="is not empty"):
        mountpoint.prepare(tmp_path)
    with pytest.raises(BusyError, match=r"already has proc \(proc\) mounted"):
        mountpoint.prepare("/proc")
    with pytest.raises(UsageError, match="no share is mounted at"):
        unmount(tmp_path, pid=None)


def test_a_process_that_goes_on_is_waited_for(tmp_path: Path) -> None:
    with memory_mount(tmp_path) as mount:
        waited: list[float] = []
        with pytest.raises(UnavailableError, match="still writes after 3 seconds"):
            unmount(mount.directory, pid=os.getpid(), timeout=3, waiting=waited.append)
        assert 2 <= waited[0] < 3


def test_the_watchdog_ends_with_the_process(tmp_path: Path) -> None:
    with memory_mount(tmp_path) as mount:
        (dog,) = _children(mount)
        assert _resident(dog) < 16 << 20
        mount.process.kill()
        mount.process.wait()
        until(lambda: not Path(f"/proc/{dog}").exists(), "the watchdog has ended")


@pytest.mark.root
def test_readahead_is_raised(tmp_path: Path) -> None:
    with memory_mount(tmp_path, options="readahead=2M") as mount:
        minor = os.minor(mount.directory.stat().st_dev)
        setting = Path(f"/sys/class/bdi/0:{minor}/read_ahead_kb")
        if not os.access(setting, os.W_OK):
            pytest.skip("needs a writable /sys/class/bdi")
        assert setting.read_text() == "2048\n"


@pytest.mark.root
def test_more_background_requests_are_allowed(tmp_path: Path, connections: Path) -> None:
    with memory_mount(tmp_path) as mount:
        minor = os.minor(mount.directory.stat().st_dev)
        assert (connections / str(minor) / "max_background").read_text() == "64\n"


def _children(mount: MemoryMount) -> list[int]:
    text = Path(f"/proc/{mount.process.pid}/task/{mount.process.pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
