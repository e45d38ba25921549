"""mount(8), umount(8) and fstab themselves, with the installed helpers and the real engine.

mount(8) looks for helpers in /sbin only. So that nothing of the machine changes, all of it happens in a mount namespace
of its own, where the installed files lie over /sbin.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.fuse, pytest.mark.root]

SCRIPT = """
set -eu
mount --make-rprivate /
mount -t tmpfs none "$PLACE/over"
mkdir "$PLACE/over/upper" "$PLACE/over/work"
sbin=$(readlink -f /sbin)
mount -t overlay -o "lowerdir=$sbin,upperdir=$PLACE/over/upper,workdir=$PLACE/over/work" none "$sbin"
cp "$PLACE"/root/sbin/* "$sbin"
count() { grep -c " $PLACE/at " /proc/self/mountinfo || true; }
home=home=$PLACE/home
echo "photos $PLACE/at syncfs _netdev,nofail,noexec,x-systemd.automount,$home 0 0" >"$PLACE/fstab"
step() { printf '%s\\n' "$*"; }

mount -a -T "$PLACE/fstab"; step "mount -a: $(count)"
mount -a -T "$PLACE/fstab"; step "again: $(count)"
grep -q " $PLACE/at .*noexec.* - fuse.syncfs photos " /proc/self/mountinfo && step "source and options are right"
echo hello >"$PLACE/at/file"
pid=$("$PYTHON" -m syncfs list --json | sed -n 's/.*"pid": //p')
umount "$PLACE/at"; step "umount: $(count)"
[ -e "/proc/$pid/exe" ] || step "the process has ended"
mount -t fuse.syncfs -o "_netdev,$home" photos "$PLACE/at"; step "mount -t: $(cat "$PLACE/at/file")"
(cd "$PLACE/at" && ! umount "$PLACE/at" 2>"$PLACE/said"); grep -q "in use" "$PLACE/said" && step "busy"
umount "$PLACE/at"; step "umount: $(count)"
"$PYTHON" -m syncfs mount photos "$PLACE/at" >/dev/null
pid=$("$PYTHON" -m syncfs list --json | sed -n 's/.*"pid": //p')
umount "$PLACE/at"; step "umount of 'syncfs mount': $(count)"
[ -e "/proc/$pid/exe" ] || step "that process has ended, too"
"$PYTHON" -m syncfs mount photos "$PLACE/at" >/dev/null
(cd "$PLACE/at" && ! "$PYTHON" -P -m syncfs umount photos 2>"$PLACE/said")
grep -q "in use" "$PLACE/said" && step "busy"
"$PYTHON" -m syncfs umount photos; step "syncfs umount: $(count)"
! grep "$PLACE/at" /run/mount/utab || step "a line is left"
mount -f -t syncfs photos "$PLACE/at" -o "$home"; step "fake: $(count)"
code=0; mount -t syncfs nothing "$PLACE/at" -o "$home" 2>/dev/null || code=$?; step "unknown: $code"
code=0; mount -t syncfs photos "$PLACE/at" -o "odd,$home" 2>/dev/null || code=$?; step "bad option: $code"
"""


def test_fstab_lines_and_umount(tmp_path: Path) -> None:
    for name in ("at", "over"):
        (tmp_path / name).mkdir()
    environment = {
        **os.environ,
        "PLACE": str(tmp_path),
        "SYNCFS_HOME": str(tmp_path / "home"),
        "PYTHON": sys.executable,
    }
    subprocess.run(["bash", str(ROOT / "scripts" / "install"), "--root", str(tmp_path / "root")], check=True)
    create = [sys.executable, "-m", "syncfs", "create", "photos", "--discovery", "none"]
    subprocess.run(create, env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    able = subprocess.run(["unshare", "--mount", "true"], check=False)
    if able.returncode:
        pytest.skip("needs mount namespaces, which cannot be made here")
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", SCRIPT],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "mount -a: 1", "again: 1", "source and options are right", "umount: 0", "the process has ended",
        "mount -t: hello", "busy", "umount: 0",
        "umount of 'syncfs mount': 0", "that process has ended, too", "busy", "syncfs umount: 0",
        "fake: 0", "unknown: 32", "bad option: 1",
    ], done.stderr  # fmt: skip
