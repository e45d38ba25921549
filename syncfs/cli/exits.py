"""The exit codes of `syncfs`, in one table; docs/guide/commands.md shows it and a test compares the two."""

from dataclasses import dataclass
from typing import Final

from syncfs.model.errors import (
    BusyError,
    DamageError,
    ForeignError,
    NewerFormatError,
    SecretError,
    SetupError,
    SyncfsError,
    UnavailableError,
    UnknownShareError,
    UsageError,
)

OK: Final = 0
OTHER: Final = 1
INTERRUPTED: Final = 130
"""What a shell reports of a command that SIGINT ended."""


@dataclass(frozen=True, slots=True)
class Exit:
    """One exit code: the error that ends with it (None: no error of ours) and what that means."""

    code: int
    error: type[SyncfsError] | None
    meaning: str


EXITS: Final = (
    Exit(OK, None, "all went well"),
    Exit(OTHER, SyncfsError, "something that has no code of its own, or an error in syncfs itself"),
    Exit(2, UsageError, "the command cannot be done as it was typed"),
    Exit(3, SecretError, "a secret or link cannot be read, or is of a kind that does not fit"),
    Exit(4, UnknownShareError, "there is no share of that name in this home"),
    Exit(5, BusyError, "a name, port, share or mount point is taken, or files are in use"),
    Exit(6, SetupError, "this computer lacks something, such as /dev/fuse, space or a permission"),
    Exit(7, DamageError, "data of ours on the disk is damaged, or a check found a problem"),
    Exit(8, NewerFormatError, "the data was written by a newer syncfs"),
    Exit(9, ForeignError, "a peer refused us or broke the rules"),
    Exit(10, UnavailableError, "the share does not run, or nobody who has the data can be reached"),
    Exit(INTERRUPTED, None, "interrupted, as by Ctrl-C"),
)


def exit_code(error: BaseException) -> int:
    """The exit code for an error: that of the nearest class in the table."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    codes = {row.error: row.code for row in EXITS if row.error is not None}
    return next((codes[kind] for kind in type(error).__mro__ if kind in codes), OTHER)
