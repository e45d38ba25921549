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

START = """
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
"""
MOUNTING = """
mount -a -T "$PLACE/fstab"; step "mount -a: $(count)"
mount -a -T "$PLACE/fstab"; step "again: $(count)"
grep -q " $PLACE/at .*noexec.* - fuse.syncfs photos " /proc/self/mountinfo && step "source and options are right"
mkdir "$PLACE/photos"; cd "$PLACE"; mount -a -T "$PLACE/fstab"; cd /; step "from a directory with that name: $(count)"
echo hello >"$PLACE/at/file"
pid=$("$PYTHON" -m syncfs list --json | sed -n 's/.*"pid": //p')
umount "$PLACE/at"; step "umount: $(count)"
cd "$PLACE"; mount -T "$PLACE/fstab" "$PLACE/at"; cd /; step "mounted from there: $(count)"; umount "$PLACE/at"
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


OPTIONS = """
lines() { for options; do echo "photos $PLACE/at syncfs _netdev,nofail,$options,$home 0 0"; done >"$PLACE/fstab"; }
mounted() { lines "$1"; mount -a -T "$PLACE/fstab"; cd "$PLACE/at"; }
over() { cd /; umount "$PLACE/at"; }
code() { code=0; "$@" >"$PLACE/said" 2>&1 || code=$?; }
as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }

mounted rw
printf '#!/bin/sh\\necho ran\\n' >program; chmod 755 program; step "rw: $(./program)"
(as_nobody cat program) | head -n 1; (! as_nobody touch program 2>/dev/null) && step "default_permissions"
mount -o remount,ro "$PLACE/at"; code touch program; step "remount,ro: $(grep -o 'Read-only' "$PLACE/said")"
mount -o remount,rw "$PLACE/at"; touch program && step "remount,rw"
mount -T "$PLACE/fstab" -o remount,ro "$PLACE/at"
code touch program; step "by fstab: $(grep -o 'Read-only' "$PLACE/said")"
for wrong in timeout=5,uid=1000 foo timeout=abc; do
  code mount -o "remount,$wrong" "$PLACE/at"; step "remount,$wrong: $code, $(grep -o "'.*' [^:]*" "$PLACE/said")"
done; over
mounted timeout=9,noacl
for same in ro ro,timeout=9; do mount -o "remount,$same" "$PLACE/at"; done
mount -T "$PLACE/fstab" -o remount,rw "$PLACE/at"
touch program && step "remount by a line with options of our own"
sed -i s/timeout=9/timeout=8/ "$PLACE/fstab"; code mount -T "$PLACE/fstab" -o remount "$PLACE/at"
step "a line that has changed: $code, $(grep -o "'.*' [^:]*" "$PLACE/said")"
over
SYNCFS_HOME=$PLACE/nowhere "$PYTHON" -P -m syncfs mount photos "$PLACE/at" -o "$home" >/dev/null
SYNCFS_HOME=$PLACE/nowhere mount -o remount,ro "$PLACE/at"; code touch "$PLACE/at/program"
step "in another home: $(grep -o 'Read-only' "$PLACE/said")"; umount "$PLACE/at"
code mount -o "remount,ro,$home" photos "$PLACE/at"; step "nothing to remount: $code"
mounted ro; code touch program; step "ro: $(grep -o 'Read-only' "$PLACE/said")"; over
mounted noexec; code ./program; step "noexec: $code"; over
mounted uid=1234,gid=5678,allow_other; step "owner: $(stat -c %u:%g program)"; over
mounted owners=me,noatime,nodiratime,x-anything,comment=words; step "owner: $(stat -c %u:%g program)"
grep -q " $PLACE/at rw,nosuid,nodev,noatime.*allow_other" /proc/self/mountinfo && step "safe without being asked"; over
mounted allow_suid,allow_dev; ! grep " $PLACE/at .*\\(nosuid\\|nodev\\)" /proc/self/mountinfo && step "suid,dev"; over
echo "nothing $PLACE/other syncfs $home 0 0" >>"$PLACE/fstab"
code mount -a -T "$PLACE/fstab"; step "one of two: $code, $(grep -c "no share 'nothing'" "$PLACE/said")"
umount "$PLACE/at"
lines odd; code mount -a -T "$PLACE/fstab"; step "unknown: $code, $(grep -o "'odd' is unknown" "$PLACE/said")"
mount -s -n -t syncfs photos "$PLACE/at" -o "odd,$home"; step "sloppy: $(count)"; umount "$PLACE/at"
mount -v -t syncfs photos "$PLACE/at" -o "$home" | grep -o "mounted at"; umount -v "$PLACE/at" >/dev/null
code mount -t syncfs photos "$PLACE/nowhere" -o "$home"; step "no directory: $code"
code umount "$PLACE/at"; step "not mounted: $code"
"""


def run(tmp_path: Path, script: str) -> list[str]:
    """What a script says, with the installed helpers in /sbin and a share `photos` that is not mounted."""
    for name in ("at", "other", "over"):
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
        ["unshare", "--mount", "bash", "-c", START + script],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    print(done.stderr)
    return done.stdout.splitlines()


def test_fstab_lines_and_umount(tmp_path: Path) -> None:
    assert run(tmp_path, MOUNTING) == [
        "mount -a: 1", "again: 1", "source and options are right",
        "from a directory with that name: 1", "umount: 0", "mounted from there: 1", "the process has ended",
        "mount -t: hello", "busy", "umount: 0",
        "umount of 'syncfs mount': 0", "that process has ended, too", "busy", "syncfs umount: 0",
        "fake: 0", "unknown: 32", "bad option: 1",
    ]  # fmt: skip


def test_options_flags_and_exit_codes(tmp_path: Path) -> None:
    assert run(tmp_path, OPTIONS) == [
        "rw: ran", "#!/bin/sh", "default_permissions", "remount,ro: Read-only",
        "remount,rw", "by fstab: Read-only",
        "remount,timeout=5,uid=1000: 32, 'timeout=5' cannot be changed while 'photos' is mounted",
        "remount,foo: 1, 'foo' is unknown", "remount,timeout=abc: 1, 'timeout=abc' is out of range",
        "remount by a line with options of our own",
        "a line that has changed: 32, 'timeout=8' cannot be changed while 'photos' is mounted",
        "in another home: Read-only", "nothing to remount: 32",
        "ro: Read-only", "noexec: 126", "owner: 1234:5678", "owner: 0:0", "safe without being asked", "suid,dev",
        "one of two: 64, 1", "unknown: 32, 'odd' is unknown", "sloppy: 1", "mounted at",
        "no directory: 32", "not mounted: 32",
    ]  # fmt: skip
