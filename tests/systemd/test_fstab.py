"""Lines of fstab on a machine that systemd has booted: at boot, on access, when idle, and when it is switched off."""

import json

import pytest

from tests.systemd.machine import Machine

pytestmark = [pytest.mark.fuse, pytest.mark.root]

SHARES = """
for name in photos notes; do syncfs create $name --discovery none >/dev/null; done
mkdir /srv/photos /srv/notes /srv/none
"""
FSTAB = """cat >/etc/fstab <<'END'
photos /srv/photos syncfs _netdev,nofail,noexec 0 0
notes /srv/notes fuse.syncfs _netdev,nofail,x-systemd.automount,x-systemd.idle-timeout=10min 0 0
none /srv/none syncfs _netdev,nofail 0 0
END
"""
WRITE = "head -c 60000000 /dev/urandom | tee {} | sha256sum"
"""Without any fsync."""
READ = "sha256sum <{}"


def process(machine: Machine, name: str) -> int:
    """The process that has mounted a share."""
    shares = json.loads(machine.run("syncfs list --json"))
    return next(int(share["pid"]) for share in shares if share["name"] == name)


@pytest.fixture
def prepared(machine: Machine) -> Machine:
    """A machine with two shares, which fstab mounts at boot and on access, and a line for a share that is not there."""
    machine.run(SHARES + FSTAB)
    machine.reboot()
    return machine


def test_at_boot_and_on_access(prepared: Machine) -> None:
    assert prepared.file_system("/srv/photos") == "fuse.syncfs"
    assert "noexec" in prepared.run("findmnt --noheadings --output OPTIONS /srv/photos")
    assert prepared.run("findmnt --noheadings --output SOURCE /srv/photos") == "photos"
    assert prepared.file_system("/srv/notes") == "autofs"
    prepared.run("echo hello >/srv/notes/file")
    assert prepared.file_system("/srv/notes") == "autofs fuse.syncfs"
    # What cannot be mounted did not keep it from booting.
    assert prepared.state("srv-none.mount", "Result") == {"Result": "exit-code"}
    assert prepared.run("systemctl is-active remote-fs.target") == "active"
    # At shutdown it is unmounted before the network goes.
    assert "network.target" in prepared.state("srv-photos.mount", "After")["After"].split()


def test_what_is_mounted_already_is_not_mounted_again(prepared: Machine) -> None:
    prepared.run("sed -i '/none/d' /etc/fstab; systemctl daemon-reload; systemctl restart remote-fs.target; mount -a")
    assert prepared.file_system("/srv/photos") == "fuse.syncfs"
    assert prepared.file_system("/srv/notes") == "autofs fuse.syncfs"


def test_what_an_automount_waits_to_mount_is_mounted_by_it(prepared: Machine) -> None:
    said = prepared.run("syncfs mount notes /srv/notes", check=False)
    assert "/srv/notes already has the share 'notes' mounted" in said
    assert prepared.file_system("/srv/notes") == "autofs fuse.syncfs"
    assert prepared.state("srv-notes.mount", "ActiveState") == {"ActiveState": "active"}


def test_an_idle_share_is_unmounted_and_comes_back(prepared: Machine) -> None:
    prepared.run("sed -i s/10min/1s/ /etc/fstab; systemctl daemon-reload; systemctl restart srv-notes.automount")
    written = prepared.run(WRITE.format("/srv/notes/file"))
    pid = process(prepared, "notes")
    prepared.wait('[ "$(systemctl is-active srv-notes.mount)" = inactive ]')
    assert prepared.file_system("/srv/notes") == "autofs"
    assert prepared.run(f"[ ! -e /proc/{pid}/exe ] && echo ended") == "ended"
    assert prepared.run(READ.format("/srv/notes/file")) == written
    assert prepared.file_system("/srv/notes") == "autofs fuse.syncfs"


def test_stopping_keeps_what_was_written(prepared: Machine) -> None:
    for directory, unit in (("/srv/photos", "srv-photos.mount"), ("/srv/notes", "srv-notes.mount")):
        written = prepared.run(WRITE.format(f"{directory}/file"))
        prepared.run(f"systemctl stop {unit}")
        assert prepared.state(unit, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
        prepared.run(f"systemctl start {unit}")
        assert prepared.run(READ.format(f"{directory}/file")) == written


def test_switching_off_keeps_what_was_written(prepared: Machine) -> None:
    prepared.run("exec 3>/srv/photos/open; echo unfinished >&3; setsid sleep 1000 <&3 >/dev/null 2>&1 &")
    written = [prepared.run(WRITE.format(f"/srv/{name}/file")) for name in ("photos", "notes")]
    prepared.reboot()
    assert [prepared.run(READ.format(f"/srv/{name}/file")) for name in ("photos", "notes")] == written
    assert prepared.run("cat /srv/photos/open") == "unfinished"
    for name in ("photos", "notes"):
        assert "ended by a fault" not in prepared.run(f"cat /var/lib/syncfs/log/{name}.log")


def test_after_a_crash_a_restart_brings_it_back(prepared: Machine) -> None:
    for name in ("photos", "notes"):
        written = prepared.run(WRITE.format(f"/srv/{name}/file") + f"; sync /srv/{name}/file")
        prepared.run(f"kill -9 {process(prepared, name)}")
        prepared.wait(f"! stat -f /srv/{name}")
        prepared.run(f"systemctl restart srv-{name}.mount")
        assert prepared.run(READ.format(f"/srv/{name}/file")) == written
        prepared.run(f"syncfs check {name}")


def test_after_a_crash_mounting_brings_it_back(prepared: Machine) -> None:
    """Also where it is an automount that does it, at the moment when the dead mount is taken away."""
    for name, mounted in (("photos", "fuse.syncfs"), ("notes", "autofs fuse.syncfs")):
        written = prepared.run(WRITE.format(f"/srv/{name}/file") + f"; sync /srv/{name}/file")
        prepared.run(f"kill -9 {process(prepared, name)}")
        prepared.wait(f"! stat -f /srv/{name}")
        assert prepared.run(f"mount /srv/{name}") == ""
        assert prepared.file_system(f"/srv/{name}") == mounted
        assert prepared.run(READ.format(f"/srv/{name}/file")) == written


def test_a_user_mounts_what_fstab_lets_users_mount(machine: Machine) -> None:
    machine.run("useradd --create-home me; mkdir /home/me/photos; chown me: /home/me/photos")
    machine.run("echo 'photos /home/me/photos syncfs noauto,user 0 0' >>/etc/fstab")
    mine = "cd /home/me; runuser -u me -- env HOME=/home/me bash -euc"
    machine.run(f"{mine} 'syncfs create photos --discovery none; mount photos; echo hello >photos/file'")
    assert machine.file_system("/home/me/photos") == "fuse.syncfs"
    assert machine.run(f"{mine} 'stat -c %U:%G photos/file'") == "me:me"
    pid = json.loads(machine.run(f"{mine} 'syncfs list --json'"))[0]["pid"]
    machine.run(f"{mine} 'umount photos; [ ! -e /proc/{pid}/exe ]'")
    assert machine.file_system("/home/me/photos") == ""
