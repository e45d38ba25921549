"""A mounted share for real programs, and how a program that is not installed is told."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.end_to_end.peer import SHARE, Peer, free_port, peer


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Peer]:
    """A share mounted as a local file system is; clean, by `check`, when the test is over."""
    with peer(tmp_path, "peer") as one:
        one.create("--listen", f"127.0.0.1:{free_port()}", "--discovery", "none")
        one.start("xattr=on,acl,allow_other,default_permissions,suid,dev")
        yield one
        told = one.run("check", SHARE, "--json")
        assert told.code == 0, told


@pytest.fixture
def program() -> Callable[..., str]:
    """Runs a program that has to succeed; what it said on stdout. Skips, by name, one that is not installed."""

    def run(*words: object, where: Path | None = None, more: Mapping[str, str] | None = None) -> str:
        command = [str(word) for word in words]
        need(command[0])
        done = subprocess.run(
            command, cwd=where, env={**os.environ, **(more or {})}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (
            f"{' '.join(command)}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
        return done.stdout

    return run


def need(*commands: str) -> None:
    """Skip the test where one of the programs is not installed."""
    for command in commands:
        if shutil.which(command) is None:
            pytest.skip(f"needs {command}, which is not installed")
