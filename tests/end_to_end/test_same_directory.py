"""Two peers make a directory of the same name while they are linked, and programs go on in it on both."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end.peer import Peer, until

pytestmark = pytest.mark.fuse
FILES = 40
WORKER = """
import os, sys
print("up", flush=True)
sys.stdin.readline()
os.makedirs("work", exist_ok=True)
os.chdir("work")
for number in range({files}):
    with open(f"{name}{{number}}.new", "w") as file:
        file.write("x" * 2000)
    os.rename(f"{name}{{number}}.new", f"{name}{{number}}")
os.mkdir("{name} folder")
os.getcwd()
print("ready", flush=True)
sys.stdin.readline()
open("{name} end", "w").close()
print("same" if os.path.samefile(".", os.getcwd()) else "other", flush=True)
"""


def expect(worker: "subprocess.Popen[str]", word: str) -> None:
    """The worker says this next."""
    assert worker.stdout is not None and worker.stderr is not None
    assert worker.stdout.readline() == word + "\n", worker.stderr.read()


def test_programs_in_both_directories_go_on(peers: Callable[..., list[Peer]]) -> None:
    both = peers(2)
    workers: list[subprocess.Popen[str]] = []
    for one in both:
        command = [sys.executable, "-c", WORKER.format(files=FILES, name=one.name)]
        workers.append(
            subprocess.Popen(
                command, cwd=one.mount, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
    try:
        for worker in workers:
            expect(worker, "up")
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("make it\n")
            worker.stdin.flush()
        for worker in workers:
            expect(worker, "ready")
        until(
            lambda: all(len(list((one / "work").iterdir())) == 2 * FILES + 2 for one in both),
            "all that was made, on both",
        )
        for worker in workers:
            answer, problem = worker.communicate("go on\n", timeout=60)
            assert answer == "same\n", (answer, problem)
        names = {f"{one.name}{number}" for one in both for number in range(FILES)}
        names |= {f"{one.name} {what}" for one in both for what in ("folder", "end")}
        until(
            lambda: all({path.name for path in (one / "work").iterdir()} == names for one in both), "the same on both"
        )
        assert [path.name for path in both[0].mount.iterdir() if path.name != ".syncfs"] == ["work"]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def has_file(directory: int, name: str) -> bool:
    """Whether an open directory has a file, with its content."""
    file = os.open(name, os.O_RDONLY, dir_fd=directory)
    try:
        return os.pread(file, 9, 0) == b"here"
    finally:
        os.close(file)


def test_what_a_program_did_not_find_there_before_is_found(peers: Callable[..., list[Peer]]) -> None:
    first, second = peers(2)
    names = [one / "work" for one in (first, second)]
    start = threading.Barrier(2)
    held: list[int] = []

    def make(path: Path) -> None:
        start.wait()
        path.mkdir(exist_ok=True)
        held.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
        for name in ("peer1", "peer2"):
            (path / name).exists()
        (path / path.parent.parent.name).write_text("here")

    threads = [threading.Thread(target=make, args=(path,)) for path in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        for directory in held:
            for name in ("peer1", "peer2"):
                until(partial(has_file, directory, name), f"{name} in it")
    finally:
        for directory in held:
            os.close(directory)
