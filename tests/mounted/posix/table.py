"""The whole table: every case of every theme, and where no file system in user space can answer as the kernel does."""

import re
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

BEYOND_REACH: Final = (
    (
        re.compile(r"privileges-cleared_by_(writing|chown): [26]767 .* by stranger: "),
        "the kernel's FUSE client takes setgid without the group's x bit for no privilege: it neither clears "
        "it when somebody outside of the group writes, nor tells us who wrote (fs/fuse/dir.c, fuse_setattr)",
    ),
    (
        re.compile(r"times-moments: .* at the year 2440: "),
        "times are kept and sent as nanoseconds in 64 bits, which end in April 2262: later ones become that, as those "
        "beyond 2446 do on ext4",
    ),
)
"""Differences, by a pattern of `case: label: `, that the mount is allowed to show, each with its reason."""
