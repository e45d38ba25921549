"""mount, umount and the helpers of mount(8), on a real mount of a tree in memory."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from syncfs.cli import mount_helper, unmounting
from syncfs.cli.home import Home
from syncfs.cli.running import running_share
from syncfs.model.errors import BusyError, SetupError, UsageError
from syncfs.mount import mountpoint, table, umount
from tests.cli.conftest import ROOT, Shell, has_ended
from tests.end_to_end.peer import until

pytestmark = [pytest.mark.fuse, pytest.mark.root]


@pytest.fixture
def place(shell: Shell, tmp_path: Path) -> Path:
    """An empty directory to mount at, beside a home with the share `photos`."""
    shell.good("create", "photos", "--discovery", "none")
    (tmp_path / "mount point").mkdir()
    return tmp_path / "mount point"


def test_mount_and_umount(shell: Shell, place: Path) -> None:
    assert shell.good("mount", "photos", place) == f"'photos' is mounted at {place}.\n"
    mounted = table.mounted_at(str(place))
    assert mounted is not None and (mounted.type, mounted.source) == ("fuse.syncfs", "photos")
    (place / "file").write_text("hello")
    assert (place / "file").read_text() == "hello"
    assert shell.run("status", "photos", "--json").json["mountpoint"] == str(place)
    second = shell.run("mount", "photos", place)
    assert (second.code, "photos" in second.err) == (17, True)
    elsewhere = place.parent / "elsewhere"
    elsewhere.mkdir()
    twice = shell.run("mount", "photos", elsewhere)
    assert (twice.code, f"already mounted at {place} by process" in twice.err) == (17, True)
    with subprocess.Popen(["sleep", "60"], cwd=place) as user:
        busy = shell.run("umount", place)
        assert (busy.code, "in use" in busy.err) == (5, True)
        user.kill()
    assert shell.run("umount", place, "--json").json == {"name": "photos", "mountpoint": str(place)}
    assert table.mounted_at(str(place)) is None
    assert running_share(Home(shell.home), "photos") is None


def test_a_share_with_something_mounted_over_it_is_not_ended(shell: Shell, place: Path) -> None:
    shell.good("mount", "photos", place)
    subprocess.run(["mount", "-t", "tmpfs", "over", str(place)], check=True)
    try:
        (place / "precious").write_text("x")
        for target in ("photos", place):
            done = shell.run("umount", target)
            assert (done.code, f"unmount that first (umount '{place}')" in done.err) == (5, True), done
        assert (place / "precious").read_text() == "x"
    finally:
        subprocess.run(["umount", str(place)], check=True)
    shell.good("umount", "photos")


def test_a_lazy_unmount_takes_a_busy_mount_away_and_its_user_goes_on(shell: Shell, place: Path) -> None:
    pid = shell.run("mount", "photos", place, "--json").json["pid"]
    with (place / "file").open("w") as file:
        done = shell.run(place, "-l", program="umount.syncfs")
        assert (done.code, done.out) == (0, ""), done
        assert table.mounted_at(str(place)) is None
        file.write("more")
        file.flush()
        assert os.fstat(file.fileno()).st_size == 4
        again = shell.run("mount", "photos", place)
        assert (again.code, "is no longer mounted" in again.err, str(pid) in again.err) == (17, True, True), again
        assert shell.run("list", "--json").json[0]["mountpoint"] is None
        assert shell.run("status", "photos", "--json").json["mountpoint"] is None
    until(lambda: has_ended(pid), "the process has ended with its last user")
    shell.good("mount", "photos", place)
    shell.good("umount", "photos")


def test_paths_in_a_mount_lead_to_its_share(shell: Shell, place: Path) -> None:
    shell.good("mount", "photos", place, MEMORY_SYNCFS="history")
    assert len(shell.run("versions", place / "a.txt", "--json").json) == 2
    assert shell.run("versions", f"{place}/../{place.name}/a.txt").code == 0
    assert len(shell.run("log", place, "--json").json) == 100
    odd = os.fsdecode(os.fsencode(place) + b"/\xff")
    assert len(shell.run("versions", odd, "--json").json) == 1
    shell.good("umount", "photos")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["photos", "{}/missing"], 15, "does not exist"),
        (["photos", "{}/file"], 2, "not a directory"),
        (["photos", "{}"], 16, "not empty"),
        (["photos", ""], 2, "names no directory"),
        (["nothing", "{}/empty"], 4, "no share 'nothing'"),
        (["photos", "{}/empty", "-o", "nonsense"], 2, "nonsense"),
    ],
)
def test_bad_mounts_have_a_sentence(shell: Shell, place: Path, words: list[str], code: int, sentence: str) -> None:
    (place / "file").write_text("")
    (place / "empty").mkdir()
    done = shell.run("mount", *(word.format(place) for word in words))
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err and done.err.count("\n") == 1


def test_a_store_cannot_be_mounted(shell: Shell, place: Path, tmp_path: Path) -> None:
    secret = shell.run("secret", "photos", "--store", "--json").json["secret"]
    store = Shell(tmp_path / "store")
    store.good("join", secret, "copy")
    done = store.run("mount", "copy", place)
    assert (done.code, "syncfs serve copy" in done.err) == (13, True)


def test_a_dead_mount_is_healed_by_the_next(shell: Shell, place: Path) -> None:
    pid = shell.run("mount", "photos", place, "--json").json["pid"]
    os.kill(pid, signal.SIGKILL)
    while not mountpoint.is_dead(str(place)):
        os.sched_yield()
    shell.good("mount", "photos", place)
    assert list(place.iterdir()) == []
    pid = shell.run("list", "--json").json[0]["pid"]
    os.kill(pid, signal.SIGKILL)
    while not mountpoint.is_dead(str(place)):
        os.sched_yield()
    done = shell.run("umount", place)
    assert (done.code, "its dead mount is taken away" in done.err) == (0, True)
    assert table.mounted_at(str(place)) is None


def test_the_process_behind_a_mount_is_found_from_another_home(shell: Shell, place: Path, tmp_path: Path) -> None:
    pid = shell.run("mount", "photos", place, "--json").json["pid"]
    other = Shell(tmp_path / "other")
    assert other.good("umount", place) == ""
    assert has_ended(pid)


def test_the_mount_helper(shell: Shell, place: Path) -> None:
    def helper(*words: object) -> tuple[int, str]:
        done = shell.run(*words, program="mount.syncfs")
        return done.code, done.err + done.out

    assert helper("photos", place, "-f", "-o", "rw,_netdev,x-systemd.automount") == (0, "")
    assert table.mounted_at(str(place)) is None
    code, said = helper("photos", place, "-n", "-v", "-s", "-o", "ro,nofail,noexec,unheard=of", "-t", "syncfs")
    assert (code, f"mounted at {place}" in said) == (0, True)
    mounted = table.mounted_at(str(place))
    assert mounted is not None and mounted.source == "photos"
    assert helper("photos", place)[0] == 32
    assert helper("photos")[0] == 1
    assert helper("-Q", "photos", place)[0] == 1
    code, said = helper("photos", "")
    assert (code, "names no directory" in said) == (1, True)
    assert helper("nothing", place)[0] == 32
    began = time.monotonic()
    done = shell.run(place, "-v", program="umount.fuse.syncfs")
    assert (done.code, done.out) == (0, "")
    said_lines = done.err.splitlines()
    assert len(said_lines) <= (time.monotonic() - began) // umount.TELL_S, "it says nothing unless there is a wait"
    assert all(re.fullmatch(r"umount.syncfs: 'photos' is ending since \d+ s", line) for line in said_lines), done.err
    assert table.mounted_at(str(place)) is None
    assert shell.run(place, program="umount.fuse.syncfs").code == 32


def test_unmounting_what_cannot_be_flushed_ends_with_a_sentence(
    shell: Shell, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.good("mount", "photos", place, MEMORY_SYNCFS="stuck")
    pid = shell.run("list", "--json").json[0]["pid"]
    monkeypatch.setenv("SYNCFS_HOME", str(shell.home))
    monkeypatch.setattr(mount_helper, "FLUSH_SECONDS", 1.0)
    assert mount_helper.run_umount([str(place)]) == mount_helper.MOUNT_FAILED
    said = capsys.readouterr().err
    assert f"could not be flushed within 1 s and stays mounted at {place}" in said
    assert table.mounted_at(str(place)) is not None
    os.kill(pid, signal.SIGKILL)
    shell.run("umount", place)


def test_a_forced_unmount_ends_what_does_not_answer(
    shell: Shell, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pid = shell.run("mount", "photos", place, "--json").json["pid"]
    monkeypatch.setenv("SYNCFS_HOME", str(shell.home))
    monkeypatch.setattr(unmounting, "LIFE_SECONDS", 0.1)
    os.kill(pid, signal.SIGSTOP)
    with subprocess.Popen(["stat", str(place / "missing")], stderr=subprocess.PIPE, text=True) as blocked:
        assert mount_helper.run_umount(["-f", str(place)]) == 0
        assert blocked.wait(10) == 1, "who waited for it is free"
    said = capsys.readouterr().err
    assert (
        said.startswith(f"umount.syncfs: 'photos' did not answer: process {pid} was killed.") and said.count("\n") == 1
    )
    assert has_ended(pid) and table.mounted_at(str(place)) is None
    shell.good("mount", "photos", place)
    shell.good("umount", "photos")


def test_a_forced_unmount_is_orderly_where_there_is_an_answer(shell: Shell, place: Path) -> None:
    shell.good("mount", "photos", place)
    with (place / "file").open("w"):
        done = shell.run("umount", "photos", "--force")
        assert (done.code, "is in use" in done.err) == (5, True), done
    assert shell.run("umount", place, "--force", "--json").json["mountpoint"] == str(place)


@pytest.mark.parametrize("start", ["mount", "serve"])
@pytest.mark.parametrize("conduct", ["full", "hanging"])
def test_what_cannot_be_stored_is_given_up_by_force_only(shell: Shell, place: Path, start: str, conduct: str) -> None:
    words = ("mount", "photos", place) if start == "mount" else ("serve", "photos")
    pid = shell.run(*words, "--json", MEMORY_SYNCFS=conduct).json["pid"]
    done = shell.run("umount", "photos")
    assert done.code == 6 and done.err == (
        "syncfs: the disk is full: free some space there; "
        "'syncfs umount --force photos' ends it without what could not be stored\n"
    )
    if start == "mount":
        with (place / "file").open("w"):
            done = shell.run("umount", "photos", "--force", "--timeout", "2")
            assert (done.code, "is in use" in done.err, done.err.count("\n")) == (5, True, 1), done
        assert table.mounted_at(str(place)) is not None
    assert not has_ended(pid)
    done = shell.run("umount", "photos", "--force", "--timeout", "1.5")
    assert done.code == 0 and has_ended(pid) and table.mounted_at(str(place)) is None, done
    *_, said = done.err.splitlines()
    assert "what programs wrote without an fsync may be lost, for the disk is full: free some space there" in said
    assert (f"process {pid} did not end by itself and was killed" in said) == (conduct == "hanging")


def test_the_helper_gives_up_what_cannot_be_stored(shell: Shell, place: Path) -> None:
    shell.good("mount", "photos", place, MEMORY_SYNCFS="full")
    done = shell.run(place, program="umount.syncfs")
    assert (done.code, "'syncfs umount --force photos' ends it" in done.err) == (32, True), done
    done = shell.run(place, "-f", program="umount.syncfs")
    assert (done.code, "may be lost" in done.err) == (0, True), done
    assert table.mounted_at(str(place)) is None


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (UsageError("a sentence"), 32),
        (BusyError("a sentence"), 32),
        (SetupError("a sentence"), 32),
        (KeyboardInterrupt(), 8),
        (OSError(5, "a sentence"), 2),
        (MemoryError(), 2),
        (RuntimeError("a fault"), 4),
    ],
)
def test_exit_codes_are_those_of_mount(
    trouble: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise trouble

    monkeypatch.setattr(mount_helper, "this_home", fail)
    assert mount_helper.run_mount(["photos", "/srv/photos"]) == code
    assert mount_helper.run_umount(["/srv/photos"]) == code
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == ["mount.syncfs", "umount.syncfs"]


def test_the_helper_takes_a_home(shell: Shell, place: Path, tmp_path: Path) -> None:
    other = Shell(tmp_path / "other")
    assert other.run("photos", place, "-o", f"home={shell.home}", program="mount.syncfs").code == 0
    assert other.run(place, program="umount.syncfs").code == 0
    assert running_share(Home(shell.home), "photos") is None


def test_the_helper_mounts_in_another_namespace(shell: Shell, place: Path) -> None:
    """As `mount -N` asks it to."""
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; read end"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        if other.stdout.readline() != "ready\n":
            pytest.skip("needs mount namespaces, which cannot be made here")
        inside, lines = f"/proc/{other.pid}/ns/mnt", Path(f"/proc/{other.pid}/mountinfo")
        done = shell.run("photos", place, "-N", inside, program="mount.syncfs")
        assert (done.code, done.err) == (0, "")
        assert table.mounted_at(str(place)) is None
        mount = table.mounts(lines.read_bytes().splitlines())[-1]
        assert (mount.directory, mount.source) == (str(place), "photos")
        assert shell.run(place, "-N", inside, program="umount.syncfs").code == 0
        assert table.mounts(lines.read_bytes().splitlines())[-1] != mount
        other.communicate("\n")
    done = shell.run("photos", place, "-N", inside, program="mount.syncfs")
    assert (done.code, f"the namespace {inside} cannot be entered" in done.err) == (1, True)


def test_a_home_that_cannot_be_one_is_told(shell: Shell, place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    words = ("photos", place, "-o", f"home={tmp_path}/file")
    for done in (shell.run(*words, program="mount.syncfs"), shell.run("mount", *words)):
        assert f"the home {tmp_path}/file is not a directory: move it away" in done.err
        assert done.code in (32, 20)


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["the command alone", "as a terminal does"])
def test_interrupting_a_mount_that_waits_leaves_nothing(
    shell: Shell, place: Path, send: Callable[[int, int], None]
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cli.memory_syncfs", "mount", "photos", str(place)],
        env=shell.surroundings(MEMORY_SYNCFS="slow"), cwd=ROOT, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as mounting:  # fmt: skip
        while running_share(Home(shell.home), "photos") is None:
            os.sched_yield()
        send(mounting.pid, signal.SIGINT)
        assert mounting.wait(10) == 130
        assert mounting.stderr is not None
        assert mounting.stderr.read() == "syncfs: interrupted\n"
    assert running_share(Home(shell.home), "photos") is None
