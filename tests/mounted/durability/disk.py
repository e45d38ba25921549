"""Disks of a test's own, in files: ext4 on a loop device, whose power can be cut, and which can refuse to write.

* `cut` is ext4's own switch for this (EXT4_IOC_SHUTDOWN without a flush of its journal, what xfstests calls godown):
  from that moment nothing more reaches the device, and what was written and not yet on it is lost, page by page, with
  the next mount. Which pages had got there by themselves is up to the kernel; `stir` brings more chance into it.
  What the kernel keeps of a loop device may outlive the unmount after that, with blocks that no power had written, and
  would be believed at the next mount. So the device is taken away each time, and its cache with it; and a disk in which
  ext4 itself has found a fault is no measure, which `mount` says.
* The file of a `ThinDisk` lies on a small file system in memory and has no room for blocks that are free. When the
  memory is full, writes to such blocks fail below the file system, as on a thinly provisioned or broken disk: write(2)
  succeeds, fsync(2) fails, and what could not be written is forgotten by the kernel. A loop device takes a request for
  done of which only the beginning found room; so each request is one page of the memory, or the disk would lie.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import random
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.end_to_end.peer import until

MIB = 1024 * 1024
_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2
_BUSY = 32
"""The exit code of umount(8) for what could not be unmounted."""
_LOOP_CTL_REMOVE = 0x4C81
_START_WRITING = 2
"""SYNC_FILE_RANGE_WRITE"""


class Disk:
    """An ext4 in a file; `place` is where it is mounted."""

    def __init__(
        self, image: Path, place: Path, mebibytes: int, *, options: str = "", whole: bool = False, block: int = 0
    ) -> None:
        """A new disk; `whole` allocates all of its file, `block` is the size of its blocks where that matters."""
        self.image = image
        self.place = place
        self._options = options
        self._device = ""
        with image.open("wb") as file:
            file.truncate(mebibytes * MIB)
        blocks = ("-b", str(block)) if block else ()
        run("mkfs.ext4", "-q", "-F", *blocks, "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", str(image))
        if whole:
            with image.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, mebibytes * MIB)
        place.mkdir(parents=True, exist_ok=True)

    def mount(self) -> None:
        """Attach the disk; what a cut left in its journal is replayed, as after a real one."""
        if not self._device:
            self._device = run("losetup", "--find", "--show", str(self.image)).strip()
        run("mount", "-t", "ext4", "-o", f"commit=600{self._options}", self._device, str(self.place))
        faults = Path(f"/sys/fs/ext4/{Path(self._device).name}/errors_count").read_text().strip()
        assert faults == "0", f"the file system of the test's own disk has {faults} faults, see dmesg"

    def unmount(self) -> None:
        """Detach the disk; whoever on this computer looks at all mounts, as df(1) does, holds it for a moment."""

        def is_free() -> bool:
            run("umount", str(self.place), accept=(0, _BUSY))
            return not os.path.ismount(self.place)

        until(is_free, f"nobody holds {self.place} any more")
        run("losetup", "--detach", self._device)
        until(lambda: _is_gone(self._device), f"{self._device} has been taken away")
        self._device = ""

    def remove(self) -> None:
        """Take away whatever is there."""
        subprocess.run(["umount", "--lazy", str(self.place)], capture_output=True, check=False)
        if self._device:
            subprocess.run(["losetup", "--detach", self._device], capture_output=True, check=False)

    @property
    def device(self) -> str:
        """The loop device."""
        return self._device

    def cut(self) -> None:
        """Cut the power: from now on every request to the disk fails, and nothing more gets onto it."""
        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def stir(self, chance: random.Random) -> None:
        """Let the kernel write some dirty pages, here and there, and perhaps its journal, as it may at any time."""
        libc = ctypes.CDLL(None, use_errno=True)
        for path in [path for path in self.place.rglob("*") if path.is_file() and chance.random() < 0.5]:
            with suppress(OSError):
                size = path.stat().st_size
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    start = chance.randrange(size + 1) & ~4095
                    length = chance.randrange(size + 1)
                    libc.sync_file_range(descriptor, ctypes.c_int64(start), ctypes.c_int64(length), _START_WRITING)
                finally:
                    os.close(descriptor)
        if chance.random() < 0.5:
            with suppress(OSError):
                other = self.place / "somebody else's file"
                with other.open("w") as file:
                    file.write(str(chance.random()))
                    file.flush()
                    os.fsync(file.fileno())

    def fill(self, leave: int = 0, name: str = "ballast") -> Path:
        """Use up all space but so many bytes; deleting the file that is returned frees it."""
        ballast = self.place / name
        _fill(self.place, ballast, leave)
        return ballast


def _is_gone(device: str) -> bool:
    """Take a loop device away; true as well where somebody else has taken it for a disk of his own."""
    name = Path(device).name
    descriptor = os.open("/dev/loop-control", os.O_RDWR)
    try:
        fcntl.ioctl(descriptor, _LOOP_CTL_REMOVE, int(name.removeprefix("loop")))
    except OSError as error:
        return error.errno == errno.ENODEV or Path(f"/sys/block/{name}/loop").exists()
    finally:
        os.close(descriptor)
    return True


def _fill(place: Path, ballast: Path, leave: int) -> None:
    with ballast.open("wb") as file:
        size = 0
        for step in (4 * MIB, 256 * 1024, 16 * 1024, 4096):
            with suppress(OSError):
                while (space := os.statvfs(place)).f_bavail * space.f_frsize > leave + step or not leave:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step


class ThinDisk(Disk):
    """A disk that has room only where something was written, until its own disk is full."""

    def __init__(self, store: Path, place: Path, mebibytes: int) -> None:
        self._store = store
        store.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "syncfs-test", str(store))
        super().__init__(store / "image", place, mebibytes - 8, whole=True, block=mmap.PAGESIZE)

    def mount(self) -> None:
        """Attach the disk; its file keeps no room for what the file system has free."""
        super().mount()
        limit = Path(f"/sys/block/{Path(self.device).name}/queue/max_sectors_kb")
        limit.write_text(str(mmap.PAGESIZE // 1024))
        run("fstrim", str(self.place))

    def fail(self) -> None:
        """Refuse with EIO whatever is written to blocks that were never written."""
        _fill(self._store, self._store / "ballast", 0)

    def heal(self) -> None:
        """Be as new."""
        (self._store / "ballast").unlink()

    def remove(self) -> None:
        """Take away whatever is there."""
        super().remove()
        subprocess.run(["umount", "--lazy", str(self._store)], capture_output=True, check=False)


@contextmanager
def mounted(disk: Disk) -> Iterator[Disk]:
    """The disk, mounted, and gone at the end."""
    try:
        disk.mount()
        yield disk
    finally:
        disk.remove()


def run(*words: str, accept: tuple[int, ...] = (0,)) -> str:
    """Run a command that has to succeed; skips the test where the machine has no such command or no loop devices."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"needs {words[0]}")
    if done.returncode and words[0] == "losetup":
        pytest.skip(f"needs loop devices, which cannot be had here ({done.stderr.strip()})")
    assert done.returncode in accept, f"{' '.join(words)}: {done.stderr}"
    return done.stdout
