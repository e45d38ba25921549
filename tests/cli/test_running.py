"""Shares in the background: starting, asking, ending, and everything that can go wrong with that."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from syncfs.cli.home import Home
from syncfs.cli.running import running_share, running_shares
from tests.cli.conftest import ROOT, Shell, has_ended


@pytest.fixture
def served(shell: Shell) -> Shell:
    """A shell with the share `photos`, which has a history and is served."""
    shell.environment["MEMORY_SYNCFS"] = "history"
    shell.good("create", "photos", "--discovery", "none")
    assert shell.good("serve", "photos") == "'photos' is served.\n"
    return shell


def test_serving_and_ending(shell: Shell) -> None:
    shell.good("create", "photos")
    started = shell.run("serve", "photos", "--json").json
    assert (started["name"], started["mountpoint"]) == ("photos", None)
    record = running_share(Home(shell.home), "photos")
    assert record is not None and record.pid == started["pid"]
    assert (shell.home / "run").stat().st_mode & 0o777 == 0o700
    assert shell.run("list", "--json").json[0]["state"] == "served"
    again = shell.run("serve", "photos")
    assert again.code == 17
    assert again.err == f"syncfs: 'photos' is already served by process {record.pid}: 'syncfs umount photos' ends it\n"
    assert shell.run("leave", "photos", "--yes").code == 5
    assert shell.run("umount", "photos", "--json").json == {"name": "photos", "mountpoint": None}
    assert has_ended(record.pid)
    assert running_shares(Home(shell.home)) == []
    assert list((shell.home / "run").iterdir()) == []
    ended = shell.run("umount", "photos")
    assert (ended.code, ended.err) == (10, "syncfs: 'photos' is not running, so there is nothing to end\n")


def test_status_shows_running_and_stopped_shares(served: Shell) -> None:
    served.good("create", "work")
    photos, work = served.run("status", "--json").json
    assert (photos["name"], photos["state"], photos["peers"], photos["in_sync"]) == ("photos", "running", 1, True)
    assert {"files", "bytes", "cached_bytes", "pending_bytes", "rates"} < set(photos)
    assert photos["since"] == "2026-05-04T12:00:00Z"
    assert (work["state"], work["files"]) == ("stopped", None)
    assert served.run("status", "work", "--json").json == work
    lines = served.good("status").splitlines()
    assert lines[0].startswith("NAME") and lines[1].split()[:2] == ["photos", "running"]
    assert "files       3, 1.9 MiB" in served.good("status", "photos")


def test_peers_and_transfers(served: Shell) -> None:
    peers = served.run("peers", "photos", "--json").json
    assert {"device", "name", "role", "connected", "path", "address"} <= set(peers[0])
    shown = served.good("peers", "photos")
    assert "\x1b" not in shown and "192.0.2.7:4000" in shown and "1.2 ms" in shown
    report = served.run("transfers", "photos", "--json").json
    assert report["transfers"][0]["path"] == "film.mkv"
    assert served.run("transfers", "--json").json == [report]
    assert "500 B of 1.0 KiB" in served.good("transfers")


def test_watching_transfers_until_interrupted(served: Shell) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cli.memory_syncfs", "transfers", "--watch", "--interval", "0.1", "--json"],
        env=served.surroundings(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as watching:  # fmt: skip
        assert watching.stdout is not None and watching.stderr is not None
        assert [json.loads(watching.stdout.readline())["name"] for _ in range(3)] == ["photos"] * 3
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 130
        assert watching.stderr.read() == '{"error":{"type":"Interrupted","message":"interrupted","exit":130}}\n'


def test_history_commands(served: Shell) -> None:
    assert [version["id"] for version in served.run("versions", "photos:a.txt", "--json").json] == ["v2", "v1"]
    assert served.run("versions", "photos:/no").err == "syncfs: there never was a file 'no'\n"
    assert served.run("restore", "photos:a.txt@v1", "--json").json["version"] == "v1"
    assert served.run("restore", "photos:a.txt@2026-01-01T00:00Z", "--json").json["time"] == "2026-01-01T00:00:00Z"
    assert served.run("restore", "photos:a.txt", "--to", "photos:dir").code == 2
    assert len(served.run("log", "photos:", "-n", "7", "--json").json) == 7
    assert served.run("conflicts", "photos", "--json").json[0]["device"] == "desk"
    assert served.run("gc", "photos", "--json").json == {"chunks": 4, "bytes": 4096, "versions": 1}
    for words in (["versions", "photos:a.txt"], ["log", "photos:"], ["conflicts"], ["gc", "photos"]):
        assert served.good(*words)
    assert served.run("versions", "/etc/passwd").code == 2
    assert served.run("versions", "nothing:a").code == 4


def test_settings_of_a_running_share_go_through_it(served: Shell) -> None:
    changed = served.run("config", "photos", "listen", "0.0.0.0:4001", "--json").json
    assert changed == {"key": "listen", "value": "0.0.0.0:4001", "applied": False}
    assert served.run("config", "photos", "colour").code == 2


def test_settings_of_a_stopped_share(shell: Shell) -> None:
    shell.good("create", "photos")
    assert shell.good("config", "photos", "peers", "192.0.2.1:4000, 192.0.2.1:4000") == ""
    assert shell.good("config", "photos", "peers") == "192.0.2.1:4000\n"
    shell.good("config", "photos", "peers", "")
    assert shell.good("config", "photos", "peers") == "\n"
    assert "how other peers are found" in shell.good("config", "photos")


def test_check_stopped_and_running(shell: Shell) -> None:
    share = shell.run("create", "photos", "--json").json["share"]
    assert "all is well" in shell.good("check", "photos")
    (shell.home / "shares" / share / "bad").write_text("")
    damaged = shell.run("check", "photos", "--json")
    assert (damaged.code, damaged.json["problems"][0]["repaired"]) == (7, False)
    assert "1 problem in 'photos'" in damaged.err
    assert "(mended)" in shell.good("check", "photos", "--repair")
    shell.good("serve", "photos")
    assert "all is well" in shell.good("check", "photos")
    assert shell.run("check", "photos", "--rebuild").code == 5


@pytest.mark.parametrize(
    ("conduct", "code", "sentence"),
    [
        ("broken", 8, "the index was written by a newer syncfs"),
        ("silent", 6, "ended before it could be used"),
        ("slow", 10, "could not be used within 1 s"),
        ("fault", 1, "this should not have happened (RuntimeError: a fault that nobody foresaw)"),
    ],
)
def test_a_share_that_cannot_start_says_why(shell: Shell, conduct: str, code: int, sentence: str) -> None:
    shell.good("create", "photos")
    done = shell.run("serve", "photos", "--wait", "1", MEMORY_SYNCFS=conduct)
    assert done.code == code, done
    assert sentence in done.err and done.err.count("\n") == 1
    assert running_shares(Home(shell.home)) == []
    shell.good("serve", "photos")


def test_a_killed_share_can_be_started_again(served: Shell) -> None:
    record = running_share(Home(served.home), "photos")
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    while not has_ended(record.pid):
        time.sleep(0.01)
    assert served.run("list", "--json").json[0]["state"] == "stopped"
    peers = served.run("peers", "photos")
    assert (peers.code, "is not running: start it" in peers.err) == (10, True)
    served.good("serve", "photos")


def test_a_process_that_does_not_answer_is_told_as_that(served: Shell) -> None:
    record = running_share(Home(served.home), "photos")
    assert record is not None
    os.kill(record.pid, signal.SIGSTOP)
    try:
        status = served.run("status", "photos", "--json").json
        assert (status["state"], status["pid"], status["files"]) == ("silent", record.pid, None)
        assert f"process {record.pid}, which runs 'photos', does not answer: " in status["reasons"][0]
        assert f"'kill -CONT {record.pid}'" in served.good("status", "photos")
        done = served.run("log", "photos:")
        assert (done.code, done.err) == (10, f"syncfs: {status['reasons'][0]}\n")
    finally:
        os.kill(record.pid, signal.SIGCONT)
    assert served.run("status", "photos", "--json").json["state"] == "running"


def test_an_unmount_that_takes_too_long_says_so(shell: Shell) -> None:
    shell.good("create", "photos")
    shell.good("serve", "photos", MEMORY_SYNCFS="stuck")
    done = shell.run("umount", "photos", "--timeout", "1")
    assert (done.code, "could not be flushed within 1 s" in done.err) == (5, True)
    record = running_share(Home(shell.home), "photos")
    assert record is not None
    os.kill(record.pid, signal.SIGTERM)
    while running_share(Home(shell.home), "photos"):
        time.sleep(0.01)


def test_the_foreground_ends_on_a_signal(shell: Shell) -> None:
    shell.good("create", "photos")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cli.memory_syncfs", "serve", "photos", "-f"],
        env=shell.surroundings(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as serving:  # fmt: skip
        assert serving.stdout is not None and serving.stderr is not None
        assert serving.stdout.readline() == "'photos' is served.\n"
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(10) == 0
        assert "Traceback" not in serving.stderr.read()


def test_systemd_is_told(shell: Shell, tmp_path: Path) -> None:
    import socket

    shell.good("create", "photos")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(10)
        shell.good("serve", "photos", NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert supervisor.recv(1000) == b"READY=1\nSTATUS=serve photos"
        shell.good("umount", "photos")
        assert supervisor.recv(1000) == b"STOPPING=1"


def test_nothing_of_the_caller_is_held_open(shell: Shell) -> None:
    shell.good("create", "photos")
    reading, writing = os.pipe()
    subprocess.run(
        [sys.executable, "-m", "tests.cli.memory_syncfs", "serve", "photos"],
        env=shell.surroundings(), cwd=ROOT, stdout=writing, stderr=writing, pass_fds=[writing], check=True,
    )  # fmt: skip
    os.close(writing)
    with os.fdopen(reading) as output:
        assert output.read() == "'photos' is served.\n"  # and then the end, though the share goes on
