"""Rules for all tests: who needs what, how a test that cannot run says so, and that nothing is left behind.

A test marked `fuse`, `root` or `netns` is skipped where the machine lacks that, and its name and the reason are printed
in one line of the summary; a skipped test is never silent.
"""

import errno
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import leftovers


def pytest_configure(config: pytest.Config) -> None:
    """Give the run its name, which all processes it starts inherit, unless scripts/test has done so.

    Of several processes that test at a time each has a name of its own, so that none ends what is another's.
    """
    os.environ.setdefault(leftovers.MARKER, secrets.token_hex(4))
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        os.environ[leftovers.MARKER] += f"-{worker}"
    # A shell that runs us in the background has us ignore Ctrl-C, and what we start would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run."""
    for marker, lack in (("fuse", _lack_of_fuse), ("root", _lack_of_root), ("netns", _lack_of_namespaces)):
        if item.get_closest_marker(marker) and (reason := lack()):
            pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every skipped test with its reason, one line each."""
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        terminalreporter.write_line(f"skipped {report.nodeid}: {reason.removeprefix('Skipped: ')}")


@cache
def _lack_of_fuse() -> str | None:
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"needs /dev/fuse, which cannot be opened here ({errno.errorcode[error.errno or 0]})"
    return None


@cache
def _lack_of_root() -> str | None:
    return None if os.geteuid() == 0 else "needs root"


@cache
def _lack_of_namespaces() -> str | None:
    if reason := _lack_of_root():
        return reason
    try:
        made = subprocess.run(["unshare", "--net", "ip", "link", "show"], capture_output=True, check=False)
    except FileNotFoundError:
        return "needs unshare and ip (Debian: util-linux, iproute2)"
    return None if made.returncode == 0 else "needs network namespaces, which cannot be made here"


@pytest.fixture(scope="session")
def run_name() -> str:
    """The name of this run: the value of SYNCFS_TEST in every process that a test starts."""
    return os.environ[leftovers.MARKER]


@pytest.fixture(scope="session")
def namespace_prefix(run_name: str) -> str:
    """How every network namespace that a test makes has to be named, so that it can be found again."""
    return leftovers.namespace_prefix(run_name)


@pytest.fixture(autouse=True)
def nothing_left(
    request: pytest.FixtureRequest, run_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """A test of the real system ends with the mounts, processes and namespaces with which it began."""
    if not any(request.node.get_closest_marker(marker) for marker in ("fuse", "root", "netns")):
        yield
        return
    directory = Path(tmp_path_factory.getbasetemp())
    before = leftovers.look(run_name, directory)
    yield
    left = leftovers.look(run_name, directory).beyond(before)
    if left.processes:
        leftovers.wait_for_end(left.processes, leftovers.GRACE)
        left = leftovers.look(run_name, directory).beyond(before)
    if left != leftovers.NOTHING:
        leftovers.remove(left, directory)
        pytest.fail("left behind: " + "; ".join(left.lines()))
