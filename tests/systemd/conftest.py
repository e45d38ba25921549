"""A machine for each test, and one sentence where none can be booted."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.systemd.machine import Machine, MachineError, missing


@pytest.fixture(scope="session")
def why_not(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """Why no machine, not even a bare one, can be booted on this computer; None where one has been."""
    if reason := missing():
        return reason
    with closing(Machine(tmp_path_factory.mktemp("first") / "machine")) as one:
        try:
            one.boot(install=False)
        except MachineError as error:
            return " ".join(str(error).split())
    return None


@pytest.fixture
def machine(tmp_path: Path, why_not: str | None) -> Iterator[Machine]:
    """A machine that has booted."""
    if why_not is not None:
        pytest.skip(why_not)
    with closing(Machine(tmp_path / "machine")) as one:
        one.boot()
        yield one
