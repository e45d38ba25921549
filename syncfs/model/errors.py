"""The error tree of syncfs, named by what the reader can do next.

SyncfsError
├── UsageError            what was asked for cannot be done as said: say it differently
│   ├── SecretError       a secret that cannot be read or does not fit here
│   │   ├── ChecksumError a typing error in it: compare it again
│   │   ├── KindError     its first character is that of no kind
│   │   └── RoleError     it does not allow what was asked for: join with another one
│   ├── UnknownShareError no share of that name in this home
│   ├── NoPlaceError      the mount point does not exist: make it
│   ├── NotEmptyError     the mount point is not empty: choose another one
│   └── BusyError         somebody else holds what is needed
│       ├── NameTakenError another share has the name: choose another one
│       ├── MountedError  the share, or the mount point, is mounted already: unmount it, or be content
│       └── PortTakenError another program listens at the port: choose another one
├── SetupError            this computer lacks something: install it, free it, allow it
│   ├── NoFuseError       /dev/fuse is not there for us
│   └── HomeError         the home cannot be read or written
├── DamageError           our own data on disk is not what was written
│   ├── NewerFormatError  written by a newer syncfs
│   ├── DamagedIndexError the index: make it anew
│   └── BadChunkError     a chunk whose bytes do not fit its address
├── ForeignError          what came from a peer or the network breaks the rules
│   └── RefusedError      a peer told us no, or is not who it must be
├── UnavailableError      nobody who has the data can be reached now
│   └── SilentError       the process that runs the share is there, but does not answer
└── PosixError            the answer to a file system call is an errno

An edge (errno, exit code, wire) translates these once, in one table of its own.
"""

import errno as errno_codes
import os


class SyncfsError(Exception):
    """Base of every error that syncfs raises on purpose; its text is one sentence for a person."""


class UsageError(SyncfsError):
    """What was asked for cannot be done as it was said."""


class SecretError(UsageError):
    """A secret cannot be read, or is of a kind that does not fit here."""


class ChecksumError(SecretError):
    """A secret has a typing error in it."""


class KindError(SecretError):
    """A secret is of no kind that we know."""


class RoleError(SecretError):
    """The secret with which a share was joined does not allow what was asked for."""


class UnknownShareError(UsageError):
    """No share of that name is known in this home."""


class NoPlaceError(UsageError):
    """The directory to mount at does not exist."""


class NotEmptyError(UsageError):
    """The directory to mount at is not empty."""


class BusyError(UsageError):
    """Somebody else holds what is needed: a name, a port, a share or a mount point."""


class NameTakenError(BusyError):
    """A share of this home has the name, or is the one that was to be joined."""


class MountedError(BusyError):
    """The share runs already, or something is mounted where it was to be."""


class PortTakenError(BusyError):
    """Another program listens at the port."""


class SetupError(SyncfsError):
    """This computer lacks something that has to be installed, freed or allowed first.

    `errno` is what the operating system said where that is for programs to know (ENOSPC, EROFS), else 0.
    """

    def __init__(self, reason: str, errno: int = 0) -> None:
        super().__init__(reason)
        self.errno = errno


class NoFuseError(SetupError):
    """/dev/fuse does not exist, or may not be opened."""


class HomeError(SetupError):
    """The home may not be read and written, or is no directory."""


class DamageError(SyncfsError):
    """Our own data on disk is not what we wrote."""


class NewerFormatError(DamageError):
    """Our data was written by a newer version of syncfs."""


class DamagedIndexError(DamageError):
    """The index cannot be read as what we wrote; it can be made anew from the feeds."""


class BadChunkError(DamageError):
    """The bytes of a chunk do not fit its address or its id."""


class ForeignError(SyncfsError):
    """Bytes from a peer or the network break the rules; the only thing hostile input may cause."""


class RefusedError(ForeignError):
    """A peer refused us, or could not prove that it is who it has to be."""


class UnavailableError(SyncfsError):
    """The data is not here, and nobody who has it can be reached now."""


class SilentError(UnavailableError):
    """The process that runs a share takes a call, but does not answer it."""


class PosixError(SyncfsError):
    """A file system call ends with this errno."""

    def __init__(self, errno: int, reason: str = "") -> None:
        super().__init__(reason or os.strerror(errno))
        self.errno = errno

    def __repr__(self) -> str:
        return f"PosixError({errno_codes.errorcode.get(self.errno, self.errno)}, {str(self)!r})"
