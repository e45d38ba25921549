"""What users were promised: content that an fsync acknowledged has to be found again.

A promise holds digests of whole contents: that which was acknowledged, and those that the same computer wrote over it
later, since one of these may have taken its place (history keeps one of many quick saves). At rest one of them must be
in the history of the share, which holds all that names and conflict copies show. A user who removes a file that is
still being written gives it up.
"""

import hashlib
from dataclasses import dataclass, field


def digest(content: bytes) -> bytes:
    """Stands for a content."""
    return hashlib.blake2b(content, digest_size=12).digest()


@dataclass(slots=True)
class Promise:
    """An acknowledged content of a file on a node, and what may stand for it."""

    node: str
    what: str
    contents: list[bytes] = field(default_factory=list)


class Promises:
    """All promises of a run."""

    def __init__(self) -> None:
        self._standing: dict[tuple[str, bytes], Promise] = {}

    def made(self, node: str, file: bytes, what: str, content: bytes) -> None:
        """An fsync returned; it takes the place of what this computer was promised of the file before."""
        self._standing[node, file] = Promise(node, what, [digest(content)])

    def overwritten(self, node: str, file: bytes, content: bytes) -> None:
        """The same computer has changed the file to `content`."""
        promise = self._standing.get((node, file))
        if promise is not None:
            promise.contents.append(digest(content))

    def given_up(self, node: str, file: bytes) -> None:
        """A user of the computer has removed a file while it was being written."""
        self._standing.pop((node, file), None)

    def broken(self, found: set[bytes]) -> list[Promise]:
        """The promises of which nothing is among the contents found."""
        return [promise for promise in self._standing.values() if found.isdisjoint(promise.contents)]

    def __len__(self) -> int:
        return len(self._standing)
