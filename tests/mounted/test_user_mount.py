"""A mount by a user without any rights of root, through fusermount3, and whose files it shows.

So that the machine's own permissions do not matter, it happens in a mount namespace whose /dev/fuse is open to all, as
on a desktop; and the user may read everything, since Python and this checkout may lie in a home that is closed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534
pytestmark = [pytest.mark.fuse, pytest.mark.root]

AS_ROOT = """
set -eu
mount --make-rprivate /
mknod -m 666 "$PLACE/fuse" c 10 229
mount --bind "$PLACE/fuse" /dev/fuse
as_nobody() {
  setpriv --reuid NOBODY --regid NOBODY --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search "$@"
}
as_nobody bash -euc "$SCRIPT"
"$PYTHON" -P -m syncfs mount users "$PLACE/at" >/dev/null
cd "$PLACE/at" && stat -c '%n: %u:%g %a' roots mine daemons linked && cd /
as_nobody env SYNCFS_HOME="$PLACE/other" "$PYTHON" -P -m syncfs log "$PLACE/at" 2>&1 || echo "code $?"
as_nobody env SYNCFS_HOME="$PLACE/other" "$PYTHON" -P -m syncfs umount "$PLACE/at" 2>&1 || echo "code $?"
"$PYTHON" -P -m syncfs umount users
"""
AS_NOBODY = """
syncfs() { "$PYTHON" -P -m syncfs "$@"; }
syncfs create users --discovery none --from "$PLACE/tree" >/dev/null
syncfs mount users "$PLACE/at" >/dev/null
grep -q " $PLACE/at .*nosuid,nodev.* - fuse.syncfs users .*user_id=NOBODY" /proc/self/mountinfo && echo mounted
cd "$PLACE/at"
stat -c '%n: %u:%g %a' roots daemons
cat roots
echo more >>roots
chmod 640 roots
chown NOBODY:NOBODY daemons
echo mine >mine
ln roots linked
rm linked && ln mine linked
chown 1 mine 2>/dev/null || echo 'nobody gives files away'
(cat "$PLACE/at/roots" >/dev/null) && echo 'nobody reads'
! syncfs mount users "$PLACE/other" 2>"$PLACE/said"
grep -c 'already mounted' "$PLACE/said"
! syncfs mount users "$PLACE/at" -o allow_other 2>"$PLACE/said"
cd /
syncfs umount "$PLACE/at"
[ -z "$(ls "$PLACE/at")" ] && echo unmounted
""".replace("NOBODY", str(NOBODY))


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can walk into, with a tree of root's to import."""
    made = Path(tempfile.mkdtemp(prefix="syncfs-test.", dir=os.environ.get("TMPDIR", "/var/tmp")))
    made.chmod(0o755)
    for name in ("tree", "at", "other"):
        (made / name).mkdir()
    for name, uid in (("roots", 0), ("daemons", 1)):
        (made / "tree" / name).write_text(f"{name}\n")
        os.chown(made / "tree" / name, uid, uid)
    for path in (made, made / "at", made / "other"):
        os.chown(path, NOBODY, NOBODY)
    yield made
    shutil.rmtree(made)


@pytest.mark.skipif(shutil.which("fusermount3") is None, reason="needs fusermount3")
def test_a_user_mounts_and_everything_is_his(place: Path) -> None:
    environment = {
        **os.environ,
        "PLACE": str(place),
        "HOME": str(place),
        "SYNCFS_HOME": str(place / "home"),
        "PYTHONPATH": str(ROOT),
        "PYTHON": sys.executable,
        "SCRIPT": AS_NOBODY,
    }
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", AS_ROOT.replace("NOBODY", str(NOBODY))],
        env=environment, cwd=place, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "mounted",
        f"roots: {NOBODY}:{NOBODY} 644",
        f"daemons: {NOBODY}:{NOBODY} 644",
        "roots",
        "nobody gives files away",
        "nobody reads",
        "1",
        "unmounted",
        # Mounted by root, the owners are those that were recorded, but for what nobody made himself.
        "roots: 0:0 640",
        f"mine: {NOBODY}:{NOBODY} 644",
        "daemons: 1:1 644",
        f"linked: {NOBODY}:{NOBODY} 644",
        f"syncfs: the mount at {place}/at belongs to root: only root may ask what it knows",
        "code 6",
        f"syncfs: the mount at {place}/at belongs to root: only root may unmount it",
        "code 6",
    ], done.stderr
