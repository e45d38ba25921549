"""The option strings of mount(8) and fstab(5), read into one value.

What mount(8) and systemd keep for themselves is accepted and left alone, what the kernel understands is passed on, what
is ours is parsed, and what nobody knows is refused by name: a misspelt option must not look as if it worked. A later
option wins over an earlier one. `max_read` is never passed on: where it differs from the session's, the kernel ends the
mount.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from syncfs.model.errors import UsageError
from syncfs.mount.table import TYPE

IGNORED: Final = frozenset(
    (
        *("defaults", "auto", "noauto", "_netdev", "nofail", "nouser", "group", "async", "silent", "loud", "intr"),
        *("nointr", "mand", "nomand", "iversion", "noiversion", "lazytime", "nolazytime", "default_permissions"),
        *("atime", "relatime", "norelatime", "strictatime", "nostrictatime", "nodiratime"),
    )
)
"""What somebody else has dealt with, or what holds anyway."""
IGNORED_PREFIXES: Final = ("x-", "X-", "comment=", "fsname=", "subtype=")
IMPLIED: Final = {
    "user": ("noexec", "nosuid", "nodev"),
    "users": ("noexec", "nosuid", "nodev"),
    "owner": ("nosuid", "nodev"),
}
"""What mount(8) documents these to imply."""
KERNEL: Final = frozenset(
    ("ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "noatime", "dirsync", "sync")
)
ALLOWED: Final = {"allow_suid": "suid", "allow_dev": "dev"}
"""For fstab: mount(8) takes `suid` and `dev`, which it thinks are the default, out of what it passes on."""
OPPOSITES: Final = (("ro", "rw"), ("suid", "nosuid"), ("dev", "nodev"), ("exec", "noexec"))
UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
XATTR: Final = ("on", "off")
OWNERS: Final = ("ids", "names", "me")
MIN_READAHEAD: Final = 128 << 10
MAX_READAHEAD: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class MountOptions:
    """How a share is to be mounted.

    Sizes in bytes, `timeout` in seconds; `cache_size` None leaves the share's own setting; `owners` says whose files
    are shown: by number, by name, or all mine; `uid` and `gid` are shown for everything where set.
    """

    kernel: tuple[str, ...] = ()
    allow_other: bool = False
    acl: bool = True
    xattr: str = "on"
    owners: str = "ids"
    uid: int | None = None
    gid: int | None = None
    readahead: int = 4 << 20
    timeout: float = 30.0
    cache_size: int | None = None

    @property
    def read_only(self) -> bool:
        """Whether nothing may be written through the mount."""
        return "ro" in self.kernel

    @property
    def shown_owner(self) -> tuple[int | None, int | None]:
        """The owner and group to show for everything, None where the node's own is shown."""
        mine = (os.getuid(), os.getgid()) if self.owners == "me" else (None, None)
        return (mine[0] if self.uid is None else self.uid, mine[1] if self.gid is None else self.gid)


def parse_options(text: str | Iterable[str], *, privileged: bool | None = None) -> MountOptions:
    """Reads `-o` strings, commas between options. Raises UsageError naming what cannot be used.

    Root's mounts are open to everybody (`default_permissions` checks each access), a user's only to the user and shown
    as the user's own, as the kernel demands without allow_other.
    """
    root = os.geteuid() == 0 if privileged is None else privileged
    options = MountOptions(allow_other=root, owners="ids" if root else "me")
    for part in [text] if isinstance(text, str) else text:
        for option in part.split(","):
            if option:
                options = _with(options, option.strip())
    for unsafe in ("suid", "dev"):
        if unsafe in options.kernel and not root:
            raise UsageError(f"the mount option '{unsafe}' is for root only: leave it out")
    return options


def fuse_options(options: MountOptions, source: str) -> set[str]:
    """What pyfuse3.init gets; `source` becomes the mount's source exactly, so that `mount -a` knows it again."""
    if source == "/dev/fuse":
        raise UsageError("a mount cannot be called /dev/fuse: give the name of the share")
    given = {f"fsname={_escaped(source)}", f"subtype={TYPE.partition('.')[2]}", "default_permissions", *options.kernel}
    return given | ({"allow_other"} if options.allow_other else set())


def parse_size(text: str) -> int:
    """Bytes from `512M`, `4GiB`, `1048576`. Raises UsageError."""
    number, unit = text.strip().lower().removesuffix("b").removesuffix("i"), ""
    if number and number[-1] in UNITS:
        number, unit = number[:-1], number[-1]
    try:
        size = float(number) * UNITS[unit]
    except ValueError:
        size = -1.0
    if not 0 <= size < 1 << 62:
        raise UsageError(f"'{text}' is not a size: write for example 512M or 20G")
    return int(size)


def _with(options: MountOptions, option: str) -> MountOptions:
    option = ALLOWED.get(option, option)
    name, equals, value = option.partition("=")
    if option in IMPLIED:
        for implied in IMPLIED[option]:
            options = _with(options, implied)
        return options
    if option in IGNORED or option.startswith(IGNORED_PREFIXES):
        return options
    if option in KERNEL:
        against = {other for pair in OPPOSITES if option in pair for other in pair}
        return replace(options, kernel=(*(kept for kept in options.kernel if kept not in {*against, option}), option))
    match name, bool(equals):
        case "allow_other", False:
            return replace(options, allow_other=True)
        case (("acl" | "noacl"), False):
            return replace(options, acl=name == "acl")
        case (("xattr" | "owners"), True):
            return _chosen(options, name, value)
        case (("uid" | "gid"), True):
            return _replaced(options, name, _number(option, value))
        case "readahead", True:
            return _replaced(options, name, _readahead(option, value))
        case "timeout", True:
            return replace(options, timeout=_seconds(option, value))
        case "cache_size", True:
            return replace(options, cache_size=parse_size(value))
        case "max_read", _:
            raise UsageError("the mount option 'max_read' is not supported: use readahead= instead")
    raise UsageError(f"the mount option '{option}' is unknown: take it out, or correct it")


def _chosen(options: MountOptions, name: str, value: str) -> MountOptions:
    allowed = XATTR if name == "xattr" else OWNERS
    if value not in allowed:
        raise UsageError(f"the mount option '{name}={value}' is unknown: write {name}= and one of {', '.join(allowed)}")
    return _replaced(options, name, value)


def _replaced(options: MountOptions, name: str, value: Any) -> MountOptions:
    return replace(options, **{name: value})


def _number(option: str, value: str) -> int:
    if not value.isdecimal() or int(value) >= 2**32 - 1:
        raise UsageError(f"the mount option '{option}' needs a number below 4294967295")
    return int(value)


def _readahead(option: str, value: str) -> int:
    size = parse_size(value)
    if not MIN_READAHEAD <= size <= MAX_READAHEAD:
        raise UsageError(f"the mount option '{option}' is out of range: write 128K to 64M, for example readahead=4M")
    return size


def _seconds(option: str, value: str) -> float:
    try:
        seconds = float(value.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86400:
        raise UsageError(
            f"the mount option '{option}' is out of range: write 1 to 86400 seconds, for example timeout=30"
        )
    return seconds


def _escaped(source: str) -> str:
    """Quotes for libfuse what would end the option, and, as octal, what is not ASCII (see fuse_opt.c)."""
    return "".join(
        f"\\{chr(byte)}" if byte in b",\\" else chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"
        for byte in os.fsencode(source)
    )
