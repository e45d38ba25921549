"""Whatever goes wrong below, the program gets an errno in time and the mount lives."""

import errno
import os
import threading
import time
from collections.abc import Iterator

import pytest

from tests.mounted.mounting import MemoryMount, memory_mount

pytestmark = pytest.mark.fuse

DEADLINE_S = 2


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryMount]:
    with memory_mount(tmp_path_factory.mktemp("mount"), options=f"timeout={DEADLINE_S}") as mount:
        for name in ("explode", "unavailable", "never", "held", "fine"):
            mount.remote_write(name, "some bytes")
        yield mount


def test_an_unknown_exception_is_eio_with_a_traceback_and_the_mount_lives(mount: MemoryMount) -> None:
    for _ in range(3):
        assert _read(mount, "explode") == errno.EIO
    log = mount.log.read_text()
    assert log.count("ZeroDivisionError: a fault on purpose") == 1
    assert "Traceback" in log
    assert _read(mount, "fine") == 0


def test_unavailable_data_is_eio_with_one_line(mount: MemoryMount) -> None:
    before = mount.log.read_text()
    for _ in range(3):
        assert _read(mount, "unavailable") == errno.EIO
    added = mount.log.read_text().removeprefix(before)
    assert added.count("no peer that has this file can be reached") == 1
    assert "Traceback" not in added
    assert _read(mount, "fine") == 0


def test_a_request_over_its_deadline_is_etimedout(mount: MemoryMount) -> None:
    start = time.monotonic()
    assert _read(mount, "never") == errno.ETIMEDOUT
    assert time.monotonic() - start > DEADLINE_S * 0.9
    assert f"no answer within {DEADLINE_S} s" in mount.log.read_text()
    assert _read(mount, "fine") == 0


def test_waiting_requests_hold_nobody_up_and_each_has_its_own_deadline(mount: MemoryMount) -> None:
    outcomes: list[int] = []
    readers = [threading.Thread(target=lambda: outcomes.append(_read(mount, "never"))) for _ in range(150)]
    for reader in readers:
        reader.start()
    os.statvfs(mount.directory)
    assert not outcomes, "it is answered while they wait"
    for reader in readers:
        reader.join()
    assert outcomes == [errno.ETIMEDOUT] * 150
    for _ in range(200):
        assert _read(mount, "fine") == 0


def _read(mount: MemoryMount, name: str) -> int:
    """Reads past the page cache; the errno, 0 for none."""
    descriptor = os.open(mount / name, os.O_RDONLY | os.O_DIRECT)
    try:
        os.read(descriptor, 4096)
    except OSError as error:
        return error.errno or 0
    finally:
        os.close(descriptor)
    return 0
