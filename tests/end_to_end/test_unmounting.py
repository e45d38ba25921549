"""Unmounting where something else than a program keeps the mount."""

import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import until

pytestmark = [pytest.mark.fuse, pytest.mark.root]


def test_a_copy_of_the_mount_in_another_namespace_does_not_keep_the_share_running(group: Group) -> None:
    one = group.add("one")
    (one / "file").write_text("kept")
    with subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sleep", "100"]) as elsewhere:
        try:
            own, copied = Path("/proc/self/ns/mnt"), Path(f"/proc/{elsewhere.pid}/ns/mnt")
            until(lambda: copied.readlink() != own.readlink(), "another namespace")
            until(lambda: "sleep" in Path(f"/proc/{elsewhere.pid}/comm").read_text(), "its mounts are private")
            one.good("umount", one.mount)
            assert one.record is None
        finally:
            elsewhere.kill()
    one.start("xattr=on")
    assert (one / "file").read_text() == "kept"
