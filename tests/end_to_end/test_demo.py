"""scripts/demo, with a small file: it succeeds, twice, and leaves nothing behind even where it is interrupted."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.peer import ROOT

pytestmark = [pytest.mark.fuse, pytest.mark.root, pytest.mark.timeout(300)]


def start(place: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["bash", "scripts/demo", "--size", "8"],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(place)}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_the_demo_holds_what_it_says_and_leaves_nothing(tmp_path: Path) -> None:
    demo = start(tmp_path)
    out, _ = demo.communicate(timeout=240)
    assert demo.returncode == 0, out
    assert "all of this held; nothing is left behind" in out
    assert "its cache holds 0 B" in out and "no difference" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["created the share", "joined with the secret"])
def test_an_interrupted_demo_takes_everything_away(tmp_path: Path, line: str) -> None:
    demo = start(tmp_path)
    assert demo.stdout is not None
    for said in demo.stdout:
        if line in said:
            break
    os.killpg(demo.pid, signal.SIGINT)
    out, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, out
    assert "nothing is left behind" not in out and "Traceback" not in out
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
