"""Peers for a test: real processes in homes of their own, always taken away at its end."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.end_to_end.peer import Peer, free_port, peer


@dataclass
class Group:
    """The peers of one share, on this computer, that know each other by `--peer`."""

    place: Path
    stack: ExitStack
    secrets: dict[str, str] = field(default_factory=dict)
    ports: list[int] = field(default_factory=list)

    def add(
        self, name: str, secret: str = "read_write", *create: object, options: str = "xattr=on", knows: int = 9
    ) -> Peer:
        """One more peer; the first creates the share, the others join and know the `knows` first ones."""
        one = self.stack.enter_context(peer(self.place, name))
        port = free_port()
        network = ["--listen", f"127.0.0.1:{port}", "--discovery", "none"]
        if not self.secrets:
            self.secrets = one.create(*create, *network)
        else:
            known = [word for other in self.ports[:knows] for word in ("--peer", f"127.0.0.1:{other}")]
            one.join(self.secrets[secret], *known, *network)
        self.ports.append(port)
        if options:
            one.start(options)
        return one


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    """An empty group."""
    with ExitStack() as stack:
        yield Group(tmp_path, stack)


@pytest.fixture
def peers(group: Group) -> Callable[..., list[Peer]]:
    """Makes so many mounted writers of one share."""

    def make(count: int = 2) -> list[Peer]:
        return [group.add(f"peer{number}") for number in range(1, count + 1)]

    return make
