"""What a run leaves behind is found by its name and taken away; what others have stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import leftovers

ROOT = Path(__file__).parents[2]
RUN = f"probe{os.getpid()}"


def check(directory: Path, argument: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.leftovers", "--run", RUN, "--directory", str(directory), argument]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_nothing_left_is_silent(tmp_path: Path) -> None:
    check(tmp_path, "--remember")
    done = check(tmp_path, "--clean")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_forgotten_process_is_named_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "GRACE", 0.05)
    with subprocess.Popen(["sleep", "600"], env={**os.environ, leftovers.MARKER: RUN}) as process:
        with subprocess.Popen(["sleep", "600"], env={**os.environ, leftovers.MARKER: f"{RUN}0"}) as foreign:
            left = leftovers.look(RUN, tmp_path)
            leftovers.remove(left, tmp_path)
            assert [pid for pid, _ in left.processes] == [process.pid]
            assert "sleep 600" in left.lines()[0]
            assert process.wait(10) == -9
            assert foreign.poll() is None
            foreign.kill()


def test_parts_of_a_run_are_its_own_and_not_each_others(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], env={**os.environ, leftovers.MARKER: f"{RUN}-gw0"}) as process:
        try:
            for run, seen in ((RUN, True), (f"{RUN}-gw0", True), (f"{RUN}-gw1", False), (f"{RUN}-gw", False)):
                assert bool(leftovers.look(run, tmp_path).processes) is seen, run
        finally:
            process.kill()


@pytest.mark.root
def test_a_forgotten_mount_is_named_and_detached(tmp_path: Path) -> None:
    mount = tmp_path / "with space"
    mount.mkdir()
    check(tmp_path, "--remember")
    subprocess.run(["mount", "-t", "tmpfs", "none", str(mount)], check=True)
    done = check(tmp_path, "--clean")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"left behind by the tests: a mount on {mount}"]
    assert not mount.is_mount()


@pytest.mark.netns
def test_a_forgotten_namespace_is_named_and_deleted(tmp_path: Path) -> None:
    check(tmp_path, "--remember")
    name = f"{leftovers.namespace_prefix(RUN)}h1"
    subprocess.run(["ip", "netns", "add", name], check=True)
    done = check(tmp_path, "--clean")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"left behind by the tests: network namespace {name}"]
    assert not Path("/run/netns", name).exists()
