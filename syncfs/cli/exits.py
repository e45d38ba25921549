"""The exit codes of `syncfs`, in one table; docs/guide/commands.md shows it and a test compares the two."""

import signal
from dataclasses import dataclass
from typing import Final

from syncfs.model.errors import (
    BusyError,
    ChecksumError,
    DamagedIndexError,
    DamageError,
    ForeignError,
    HomeError,
    KindError,
    MountedError,
    NameTakenError,
    NewerFormatError,
    NoFuseError,
    NoPlaceError,
    NotEmptyError,
    PortTakenError,
    RoleError,
    SecretError,
    SetupError,
    SyncfsError,
    UnavailableError,
    UnknownShareError,
    UsageError,
)

OK: Final = 0
OTHER: Final = 1
SIGNALLED: Final = 128
"""A shell reports so much more than its number of a signal that ended a command."""
INTERRUPTED: Final = SIGNALLED + signal.SIGINT


class Ended(KeyboardInterrupt):
    """A signal other than SIGINT has told a command to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


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
    Exit(3, SecretError, "a secret or link cannot be read, or cannot be told here"),
    Exit(4, UnknownShareError, "there is no share of that name in this home"),
    Exit(5, BusyError, "a share, its index, a mount or files are in use"),
    Exit(6, SetupError, "this computer lacks something, such as space or a permission"),
    Exit(7, DamageError, "data of ours on the disk, such as a chunk, is damaged: a check found a problem"),
    Exit(8, NewerFormatError, "the data was written by a newer syncfs"),
    Exit(9, ForeignError, "a peer refused us or broke the rules"),
    Exit(10, UnavailableError, "the share does not run, or nobody who has the data can be reached"),
    Exit(11, ChecksumError, "the checksum of a secret is wrong: there is a typing error in it"),
    Exit(12, KindError, "a secret is of an unknown kind"),
    Exit(13, RoleError, "the secret of the share does not allow that, as a store's does not allow to mount"),
    Exit(14, NameTakenError, "a share of that name, or that share, is here already"),
    Exit(15, NoPlaceError, "the mount point does not exist"),
    Exit(16, NotEmptyError, "the mount point is not empty"),
    Exit(17, MountedError, "the share runs already, or the mount point has something mounted"),
    Exit(18, PortTakenError, "the port is in use"),
    Exit(19, NoFuseError, "there is no /dev/fuse, or it may not be opened"),
    Exit(20, HomeError, "the home cannot be read and written"),
    Exit(21, DamagedIndexError, "the index is damaged"),
    Exit(SIGNALLED + signal.SIGHUP, None, "ended by SIGHUP, as when its terminal closes"),
    Exit(INTERRUPTED, None, "interrupted, as by Ctrl-C"),
    Exit(SIGNALLED + signal.SIGTERM, None, "ended by SIGTERM, as by kill or timeout"),
)


def exit_code(error: BaseException) -> int:
    """The exit code for an error: that of the nearest class in the table."""
    if isinstance(error, Ended):
        return SIGNALLED + error.number
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    codes = {row.error: row.code for row in EXITS if row.error is not None}
    return next((codes[kind] for kind in type(error).__mro__ if kind in codes), OTHER)
