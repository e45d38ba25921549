"""So that umount(8) asks us: a mount's line in libmount's own table (/run/mount/utab, see mount(8) on `uhelper`).

For a mount without a line there, umount(8) takes the type from statfs(2), which says `fuse` for all of FUSE, so it
looks for no helper of ours and returns while we still write. mount(8) writes the line for most lines of fstab; for any
other mount of root's we have it written. Those of users have none and need none: for them umount(8) takes the type from
the kernel's table. systemd reads the line, too, and takes from `_netdev` there when to mount and unmount at boot and
shutdown, whatever the options in its own unit say.
"""

import logging
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from syncfs.mount.table import TYPE, plain

UTAB: Final = Path("/run/mount/utab")
HELPER: Final = Path("/sbin/umount.syncfs")
"""Without it a line would lead nowhere."""
_TARGET: Final = re.compile(rb"(?:^| )TARGET=(\S+)")

log = logging.getLogger(__name__)


def register(source: str, directory: str) -> None:
    """Have a mount's line written, if it has none; where that cannot be, umount(8) does not wait for us."""
    if os.geteuid() != 0 or not HELPER.exists() or is_registered(directory):
        return
    command = ["mount", "-i", "-f", "-c", "-t", TYPE, "-o", "uhelper=syncfs,_netdev", "--", source, directory]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        log.info("umount(8) will not wait until all is written: mount(8) cannot be run (%s)", error.strerror)
        return
    if done.returncode:
        log.info("umount(8) will not wait until all is written: %s", done.stderr.strip())


def is_registered(directory: str, lines: Iterable[bytes] | None = None) -> bool:
    """Whether a directory has a line."""
    if lines is None:
        try:
            lines = UTAB.read_bytes().splitlines()
        except OSError:
            return False
    return any((found := _TARGET.search(line)) is not None and plain(found[1]) == directory for line in lines)
