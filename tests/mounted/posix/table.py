"""The whole table: every case of every theme."""

from typing import Final

from tests.mounted.posix import (
    attributes,
    content,
    directories,
    links,
    locks,
    mapping,
    masks,
    naming,
    opening,
    permissions,
    privileges,
    renames,
    special,
    times,
)
from tests.mounted.posix.case import Case

ALL_CASES: Final[tuple[Case, ...]] = (
    *permissions.CASES,
    *privileges.CASES,
    *masks.CASES,
    *renames.CASES,
    *links.CASES,
    *opening.CASES,
    *content.CASES,
    *times.CASES,
    *naming.CASES,
    *special.CASES,
    *locks.CASES,
    *mapping.CASES,
    *directories.CASES,
    *attributes.CASES,
)
