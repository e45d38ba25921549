"""Versions as the rules of `model.versions` look them up."""

from collections.abc import Callable
from typing import Any

from syncfs.index.nodes import split_stamps
from syncfs.model.ids import Stamp
from syncfs.model.records import content_digest
from syncfs.model.versions import Version, VersionOf


def versions_for(ino: int, read: Callable[[str, tuple[Any, ...]], Any]) -> VersionOf:
    """Looks up versions for a file; `read` gives the first row of a query."""

    def version_of(stamp: Stamp) -> Version | None:
        row = read("SELECT ino, parents, size, depth, body FROM versions WHERE stamp = ?", (stamp,))
        if row is None:
            return None
        if row[0] != ino:
            return Version((), content_digest(*row[2:]), foreign=True)
        return Version(split_stamps(row[1]), content_digest(*row[2:]))

    return version_of
