"""A small computer that systemd boots: systemd-nspawn on a tree of its own, with syncfs installed by scripts/install.

Its programs are those of this computer (/usr, below a layer of its own in memory), its configuration is nearly empty,
so nothing of this computer's services runs in it. All mounts are made in a mount namespace of nspawn's own: when nspawn
has ended, however it did, there is nothing left to take away.
"""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from syncfs.cli.home import SYSTEM_HOME

ROOT: Final = Path(__file__).parents[2]
BOOT_S: Final = 60.0
STOP_S: Final = 30.0
TOOLS: Final = ("systemd-nspawn", "nsenter", "unshare")

PREPARE: Final = """
set -eu
mount -t tmpfs tmpfs "$PLACE"
mkdir "$PLACE/upper" "$PLACE/work" "$PLACE/tree"
cd "$PLACE/tree"
mkdir -p usr etc dev proc sys run tmp root srv home var/lib var/log
chmod 1777 tmp
for name in bin sbin lib lib64; do ln -s "usr/$name" "$name"; done
mount -t overlay -o "lowerdir=/usr,upperdir=$PLACE/upper,workdir=$PLACE/work" none usr
for name in passwd group shadow nsswitch.conf ld.so.cache pam.d security login.defs alternatives localtime; do
  [ ! -e "/etc/$name" ] || cp -a "/etc/$name" etc
done
echo 0123456789abcdef0123456789abcdef >etc/machine-id
echo machine >etc/hostname
systemctl --quiet --root="$PWD" enable remote-fs.target  # as every Debian has it
mount -t tmpfs tmpfs /run  # where systemd-nspawn keeps notes
# Devices of its own, since what boots changes their permissions.
devices=()
for device in fuse autofs; do
  [ -e "/dev/$device" ] || continue
  cp -a "/dev/$device" "$PLACE"
  chmod 666 "$PLACE/$device"
  devices+=("--bind=$PLACE/$device:/dev/$device")
done
[ -z "$INSTALL" ] || "$CHECKOUT/scripts/install" --root "$PLACE/tree"
code=133
while [ "$code" = 133 ]; do  # it wants to be booted again
  code=0
  systemd-nspawn --quiet --boot --directory="$PLACE/tree" --machine=machine --register=no --keep-unit \\
    --link-journal=no --private-network --console=pipe --notify-ready=yes "${devices[@]}" \\
    --setenv="SYNCFS_TEST=$SYNCFS_TEST" "$@" || code=$?
done
exit "$code"
"""


class MachineError(AssertionError):
    """What the machine was asked to do failed."""


class Machine:
    """A machine that is off until `boot`; `close` ends it whatever state it is in."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._console = place.with_suffix(".console")
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._first = 0  # until it has booted
        place.mkdir()
        # Not below `place`, which nspawn covers; a path, since a name would be out of reach of its network namespace.
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(place.with_suffix(".notify")))

    def boot(self, *, install: bool = True) -> None:
        """Switch it on; returns when everything that starts at boot has been started, or has failed.

        Raises MachineError where systemd cannot be booted.
        """
        surroundings = {
            **os.environ,
            "PLACE": str(self._place),
            "CHECKOUT": str(ROOT),
            "INSTALL": "yes" if install else "",
            "NOTIFY_SOCKET": str(self._place.with_suffix(".notify")),
        }
        seen = [f"--bind-ro={place}" for place in (ROOT, Path(sys.base_prefix)) if place.parts[1] != "usr"]
        with self._console.open("wb") as console:
            self._nspawn = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "bash", "-c", PREPARE, "bash", *seen],
                env=surroundings, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
            )  # fmt: skip
        self._wait_ready()

    def reboot(self) -> None:
        """What the command does: everything is stopped in order, and starts again."""
        self.run("systemctl reboot")
        self._wait_ready()

    def close(self) -> None:
        """Switch it off."""
        self._notify.close()
        if self._nspawn is None:
            return
        try:
            self.run("systemctl poweroff", check=False)
            self._nspawn.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._nspawn.pid, signal.SIGKILL)
            with suppress(ProcessLookupError):
                os.kill(self._first or self._nspawn.pid, signal.SIGKILL)  # and the kernel ends what ran below it
            self._nspawn.wait()

    def run(self, script: str, *, check: bool = True, limit: float = 40) -> str:
        """What a script of root's says on the machine, both outputs in one. Raises MachineError if it fails, or takes
        more than `limit` seconds."""
        command = (
            *("nsenter", "--target", str(self._first), "--all", "--root", "--wd"),
            *("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME=/root", "LC_ALL=C.UTF-8"),
            *("timeout", "--foreground", str(limit), "bash", "-euo", "pipefail", "-c", script),
        )
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if check and done.returncode:
            raise MachineError(f"{script}: {done.returncode}\n{done.stdout}\n{self.told()}")
        return done.stdout.strip()

    def wait(self, condition: str) -> None:
        """Until a condition of the shell's holds."""
        self.run(f"until {condition}; do sleep 0.1; done >/dev/null 2>&1")

    def told(self) -> str:
        """What the machine says of its last minutes, for a test that failed."""
        logs = f"tail -n 30 {SYSTEM_HOME}/log/*.log"
        return self.run(f"journalctl --no-pager -n 60; systemctl --failed --no-pager; {logs}", check=False)

    def state(self, unit: str, *properties: str) -> dict[str, str]:
        """Properties of a unit."""
        told = self.run(f"systemctl show --property={','.join(properties)} '{unit}'")
        return dict(line.split("=", 1) for line in told.splitlines())

    def file_system(self, directory: str) -> str:
        """The types of what is mounted at a directory, bottom first, with blanks between; automounts are `autofs`."""
        told = self.run(f"findmnt --noheadings --output FSTYPE --mountpoint {directory}", check=False)
        return " ".join(told.split())

    def _wait_ready(self) -> None:
        """Until systemd has told, through nspawn, that it is up; nspawn tells which process it is."""
        deadline = time.monotonic() + BOOT_S
        while True:
            left = deadline - time.monotonic()
            assert self._nspawn is not None
            if left <= 0 or not select.select([self._notify], [], [], min(left, 1))[0]:
                if left <= 0 or self._nspawn.poll() is not None:
                    raise MachineError(f"systemd does not boot: {self._console.read_text(errors='replace')[-3000:]}")
                continue
            for line in self._notify.recv(4096).decode().splitlines():
                name, _, value = line.partition("=")
                if name == "X_NSPAWN_LEADER_PID":
                    self._first = int(value)
                elif line == "READY=1":
                    self.run("systemctl is-system-running --wait || true", limit=BOOT_S)
                    return


def missing() -> str | None:
    """Why no machine can be booted on this computer; None where one can."""
    for tool in TOOLS:
        if shutil.which(tool) is None:
            return f"needs {tool} (Debian: systemd-container, util-linux)"
    return None
