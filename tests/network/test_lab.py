"""The lab leaves nothing behind, however it is left."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.network.lab import Lab, lab

pytestmark = [pytest.mark.netns, pytest.mark.root]


def _spaces(made: Lab) -> list[str]:
    return [path.name for path in Path("/run/netns").iterdir() if path.name.startswith(made.prefix)]


def test_connects_its_hosts() -> None:
    with lab(3) as made:
        assert made.run("h1", ["ping", "-c", "1", "-W", "2", made.address("h3")]).returncode == 0
        assert made.run("h1", ["sh", "-c", "echo $WORD"], {"WORD": "said"}).stdout == "said\n"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_ends_everything_on_failure(failure: type[BaseException]) -> None:
    daemon = "import os, time; os.fork() or os.setsid(); time.sleep(600)"
    with pytest.raises(failure), lab(2) as made:
        started = made.exec("h1", [sys.executable, "-c", daemon], stdout=subprocess.PIPE)
        raise failure
    assert _spaces(made) == []
    assert started.returncode is not None


def test_ends_daemons_that_ignore_being_asked() -> None:
    with lab(1) as made:
        script = "trap '' TERM; echo up; while :; do sleep 0.2; done"
        stubborn = made.exec("h1", ["setsid", "sh", "-c", script], stdout=subprocess.PIPE)
        assert stubborn.stdout is not None
        assert stubborn.stdout.readline() == b"up\n"
        inside = made.pids("h1")
        assert inside
    assert not any(Path(f"/proc/{pid}").exists() for pid in inside)
    assert _spaces(made) == []


def test_a_lab_that_cannot_be_built_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Lab] = []

    def fail(self: Lab, host: str) -> None:
        made.append(self)
        raise RuntimeError("no more interfaces")

    monkeypatch.setattr(Lab, "attach", fail)
    with pytest.raises(RuntimeError, match="no more"), lab(2):
        pytest.fail("was built")
    assert _spaces(made[0]) == []
