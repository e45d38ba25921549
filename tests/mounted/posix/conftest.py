"""Where the table is run: in a plain directory on a disk, and on a mount of a share in the same directory."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import leftovers
from tests.mounted.posix.acting import STRANGER, call_as

_IN_MEMORY = ("tmpfs", "ramfs", "overlay")


def _file_system(path: Path) -> str:
    command = ["stat", "--file-system", "--format=%T", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="session")
def disk() -> Iterator[Path]:
    """A directory on a disk's file system that every user can walk into; pytest's own are closed to others."""
    for base in (os.environ.get("TMPDIR", "/var/tmp"), "/var/tmp", str(Path.cwd())):
        if _file_system(Path(base)) not in _IN_MEMORY:
            break
    else:
        pytest.skip("needs a directory on a disk (ext4 or alike): set TMPDIR to one")
    made = Path(tempfile.mkdtemp(prefix="syncfs-test.", dir=base))
    made.chmod(0o755)
    try:
        if os.geteuid() == 0 and call_as(STRANGER, os.stat, made / ".") == "EACCES":
            pytest.skip(f"needs a directory on a disk that every user can walk into: {made} is closed to others")
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture
def plain_directory(disk: Path) -> Iterator[Path]:
    """An empty directory of the disk."""
    yield from _new_directory(disk)


@pytest.fixture
def another_directory(disk: Path) -> Iterator[Path]:
    """A second one, to see that a case observes the same twice."""
    yield from _new_directory(disk)


@pytest.fixture
def mounted_directory(mount_point: Path) -> Iterator[Path]:
    """An empty directory on the mount."""
    yield from _new_directory(mount_point)


def _new_directory(place: Path) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="case-", dir=place))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def mount_point(disk: Path, run_name: str) -> Iterator[Path]:
    """A new share, mounted as a local file system is for all users, made by the `syncfs` command."""
    command = Path(sys.executable).with_name("syncfs")
    if (
        not command.exists()
        or subprocess.run([command, "mount", "--help"], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs a `syncfs mount` that works in this checkout")
    environment = {**os.environ, "SYNCFS_HOME": str(disk / "home")}
    place = disk / "mount"
    place.mkdir()

    def syncfs(*arguments: str) -> None:
        done = subprocess.run([command, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"syncfs {' '.join(arguments)}: {done.stderr or done.stdout}"

    syncfs("create", "posix", "--discovery", "none", "--listen", "127.0.0.1:0")
    options = "allow_other,default_permissions,suid,dev" if os.geteuid() == 0 else "default_permissions"
    syncfs("mount", "posix", str(place), "-o", options)
    try:
        yield place
        syncfs("umount", str(place))
        log = (disk / "home/log/posix.log").read_text()
        assert "ERROR" not in log, log[log.index("ERROR") :]
    finally:
        leftovers.remove(leftovers.look(run_name, disk), disk)
