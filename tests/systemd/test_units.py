"""The units that scripts/install puts in place, on a machine that systemd has booted."""

import json
import random
from functools import partial

import pytest

from tests.systemd.machine import ROOT, Machine

pytestmark = [pytest.mark.fuse, pytest.mark.root]

UNIT = "syncfs@photos.service"


@pytest.fixture
def served(machine: Machine) -> Machine:
    """A machine whose system serves a share without a mount."""
    machine.run("syncfs create photos --from /etc/security --listen 127.0.0.1:4000")
    machine.run(f"systemctl enable --now {UNIT}")
    return machine


def main_pid(machine: Machine) -> int:
    return int(machine.state(UNIT, "MainPID")["MainPID"])


def status(machine: Machine) -> str:
    return str(json.loads(machine.run("syncfs status photos --json"))["state"])


def test_a_served_share_is_up_when_systemd_says_so(served: Machine) -> None:
    assert served.state(UNIT, "Type", "ActiveState", "StatusText") == {
        "Type": "notify", "ActiveState": "active", "StatusText": "serve photos",
    }  # fmt: skip
    assert status(served) == "running"
    served.reboot()
    assert status(served) == "running"
    served.run(f"systemctl stop {UNIT}")
    assert served.state(UNIT, "Result", "ActiveState") == {"Result": "success", "ActiveState": "inactive"}
    assert served.run("syncfs list --json | grep -o stopped") == "stopped"


def test_a_served_share_serves(served: Machine) -> None:
    """What the unit takes away from the process is nothing that it needs."""
    secret = json.loads(served.run("syncfs secret photos --json"))["secret"]
    other = "export SYNCFS_HOME=/root/other"
    served.run(f"{other}; syncfs join {secret} photos --peer 127.0.0.1:4000; mkdir /mnt; syncfs mount photos /mnt")
    served.run("diff -r /etc/security /mnt; cp -a /etc/pam.d /mnt; sync /mnt/pam.d/*")
    count = "syncfs status photos --json | grep -o '\"files\": [0-9]*'"
    served.wait(f'[ "$({count})" = "$({other}; {count})" ]')
    served.run(f"{other}; syncfs umount photos")
    served.run(f"systemctl stop {UNIT}; syncfs check photos")
    told = served.run(f"journalctl --unit {UNIT} --output cat")
    assert "ended by a fault" not in told and "Traceback" not in told and "WARNING" not in told, told


def test_a_served_share_comes_back_after_a_crash(served: Machine) -> None:
    before = main_pid(served)
    served.run(f"kill -9 {before}")
    served.wait(f'[ "$(systemctl show --value --property=NRestarts {UNIT})" = 1 ]')
    served.run(f"systemctl start {UNIT}")
    assert main_pid(served) != before
    assert status(served) == "running"


def test_a_mounted_share_comes_back_after_a_crash(machine: Machine) -> None:
    """And nothing is lost when it is stopped in the middle of writing."""
    machine.run("syncfs create photos --discovery none; systemctl enable --now syncfs-mount@photos")
    unit = "syncfs-mount@photos.service"
    written = machine.run("head -c 60000000 /dev/urandom | tee /srv/photos/file | sha256sum; sync /srv/photos/file")
    machine.run(f"kill -9 $(systemctl show --value --property=MainPID {unit})")
    machine.wait(f'[ "$(systemctl show --value --property=NRestarts {unit})" = 1 ]')
    machine.run(f"systemctl start {unit}")
    assert machine.file_system("/srv/photos") == "fuse.syncfs"
    assert machine.run("sha256sum </srv/photos/file") == written
    for end in (partial(machine.run, f"systemctl restart {unit}"), machine.reboot):
        written = machine.run("head -c 60000000 /dev/urandom | tee /srv/photos/file | sha256sum")
        end()
        assert machine.run("sha256sum </srv/photos/file") == written


def test_what_trying_again_does_not_mend_is_not_tried_again(machine: Machine) -> None:
    said = machine.run("systemctl start syncfs@nothing.service || systemctl status syncfs@nothing.service", check=False)
    assert "there is no share 'nothing' here" in said
    assert machine.state("syncfs@nothing.service", "ActiveState", "NRestarts") == {
        "ActiveState": "failed",
        "NRestarts": "0",
    }


def test_a_store_is_not_mounted_again_and_again(machine: Machine) -> None:
    machine.run("syncfs create photos --discovery none")
    secret = json.loads(machine.run("syncfs secret photos --store --json"))["secret"]
    machine.run(f"syncfs leave photos --yes; syncfs join {secret} copy --discovery none")
    machine.run("! systemctl start syncfs-mount@copy")
    state = machine.state("syncfs-mount@copy.service", "ActiveState", "NRestarts", "ExecMainStatus")
    assert state == {"ActiveState": "failed", "NRestarts": "0", "ExecMainStatus": "13"}


def test_removing_and_installing(machine: Machine) -> None:
    """Systemd hears of it at once; a share and its secret stay, and so does what runs, of which one is told."""
    machine.run("syncfs create photos --discovery none")
    machine.run(f"systemctl enable --now {UNIT}")
    said = machine.run(f"{ROOT}/scripts/install --remove")
    assert f"install: {UNIT} is still running: systemctl stop {UNIT}" in said
    assert f"install: {UNIT} is still enabled: systemctl disable {UNIT}" in said
    machine.run(
        f"systemctl stop {UNIT}; systemctl disable {UNIT}; ! systemctl cat {UNIT}; ! command -v syncfs mount.syncfs"
    )
    machine.run(f"{ROOT}/scripts/install; systemctl start {UNIT}")
    assert status(machine) == "running"


def test_the_examples_mount(machine: Machine) -> None:
    machine.run("syncfs create photos --discovery none")
    machine.run("cp /usr/local/share/syncfs/examples/srv-photos.* /etc/systemd/system; systemctl daemon-reload")
    machine.run("systemctl enable --now srv-photos.automount; echo hello >/srv/photos/file")
    machine.run("systemctl disable srv-photos.automount")
    assert machine.file_system("/srv/photos") == "autofs fuse.syncfs"
    machine.run("systemctl enable srv-photos.mount")
    machine.reboot()
    assert machine.file_system("/srv/photos") == "fuse.syncfs"
    order = machine.state("srv-photos.mount", "Before", "After")
    assert "remote-fs.target" in order["Before"].split()
    assert "network.target" in order["After"].split()
    assert machine.run("cat /srv/photos/file") == "hello"


def test_a_user_has_a_share_mounted_while_logged_in(machine: Machine) -> None:
    """By fusermount3, and again after a crash, whose dead mount is taken away."""
    machine.run("useradd --create-home me; loginctl enable-linger me")
    machine.wait("[ -S /run/user/$(id -u me)/systemd/private ]")

    def mine(script: str) -> str:
        given = "HOME=/home/me XDG_RUNTIME_DIR=/run/user/$(id -u me)"
        return machine.run(f"cd /home/me; runuser -u me -- env {given} bash -euc '{script}'")

    mine("syncfs create photos --discovery none; systemctl --user enable --now syncfs@photos")
    assert machine.file_system("/home/me/photos") == "fuse.syncfs"
    written = mine("head -c 60000000 /dev/urandom | tee photos/file | sha256sum; sync photos/file")
    mine("kill -9 $(systemctl --user show --value --property=MainPID syncfs@photos)")
    restarts = "systemctl --user show --value --property=NRestarts syncfs@photos"
    mine(f"until [ $({restarts}) = 1 ]; do sleep 0.1; done; systemctl --user start syncfs@photos")
    assert mine("sha256sum <photos/file") == written
    written = mine("head -c 60000000 /dev/urandom | tee photos/file | sha256sum")
    machine.reboot()
    machine.wait("findmnt --mountpoint /home/me/photos")
    assert mine("sha256sum <photos/file") == written
    mine("systemctl --user stop syncfs@photos")
    assert machine.file_system("/home/me/photos") == ""


WRITER = """
import itertools, os
told = open("/root/told", "a")
for number in itertools.count():
    try:
        file = os.open("/srv/photos/written", os.O_WRONLY | os.O_APPEND)
    except OSError:
        continue  # nothing is mounted, or a dead mount
    try:
        os.write(file, b"%d\\n" % number)
        os.fsync(file)
        print(number, file=told, flush=True)
    except OSError:
        pass
    os.close(file)
"""


@pytest.mark.soak
def test_crashes_and_restarts_at_any_moment_lose_nothing_that_was_synced(machine: Machine) -> None:
    chance = random.Random(5)
    machine.run("syncfs create photos --discovery none; mkdir /srv/photos; systemctl enable --now syncfs-mount@photos")
    machine.run("touch /srv/photos/written; sync /srv/photos/written")
    machine.run(f"cat >/root/writer <<'END'\n{WRITER}\nEND")
    for number in range(30):
        machine.run(f"systemd-run --quiet --collect --unit=writer-{number} python3 /root/writer")
        machine.run(f"sleep {chance.uniform(0.1, 3)}")
        match number % 3:
            case 0:
                machine.run("kill -9 $(systemctl show --value --property=MainPID syncfs-mount@photos)")
                machine.wait("[ -e /srv/photos/written ]")
            case 1:
                machine.run("systemctl restart syncfs-mount@photos")
            case _:
                machine.reboot()
        machine.run(f"systemctl stop writer-{number} || true")
        lost = machine.run("sort -u /srv/photos/written >/root/there; sort -u /root/told | comm -13 /root/there -")
        assert lost == "", number
    machine.run("syncfs check photos")
