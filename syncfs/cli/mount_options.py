"""The options after `-o` that are for the command itself, taken out before the mount reads the rest."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from syncfs.model.errors import UsageError
from syncfs.mount.options import MountOptions, parse_options

_FOR_MOUNT_ITSELF: Final = ("helper=", "uhelper=")
"""What mount(8) passes on though only it can use it."""
_STATE: Final = (
    *("user_id=", "group_id=", "rootmode=", "fd=", "max_read=", "blksize=", "seclabel"),
    *("context=", "fscontext=", "defcontext=", "rootcontext="),
)
"""What the kernel's table has besides; mount(8) passes it on with a remount."""
_OWN: Final = frozenset(each.name for each in fields(MountOptions)) - {"kernel"}


@dataclass(frozen=True, slots=True)
class GivenOptions:
    """What the mount is to be like, and the home that replaces the default one where `home=/PATH` was given.

    `remount` asks for a change of what is mounted already. `own` has what was given of the options that no kernel
    knows, by their fields in `mount`, as it was written last.
    """

    mount: MountOptions = field(default_factory=MountOptions)
    home: Path | None = None
    remount: bool = False
    own: Mapping[str, str] = field(default_factory=dict)


def read_options(texts: Iterable[str], sloppy: bool = False) -> GivenOptions:
    """Read the texts after each `-o`; `sloppy` leaves out what nobody knows. Raises UsageError."""
    passed: list[str] = []
    own: dict[str, str] = {}
    home: Path | None = None
    given = [part.strip() for text in texts for part in text.split(",")]
    remount = "remount" in given
    for option in given:
        if option.startswith("home="):
            home = Path(option.removeprefix("home="))
            if not home.is_absolute():
                raise UsageError(f"'{option}' names no absolute path: write home=/PATH")
        elif option == "remount" or option.startswith(_FOR_MOUNT_ITSELF) or (remount and option.startswith(_STATE)):
            continue
        elif not sloppy or _is_known(option):
            passed.append(option)
            name = option.partition("=")[0]
            name = "acl" if name == "noacl" else name
            if name in _OWN:
                own[name] = option
    return GivenOptions(parse_options(passed), home, remount, own)


def require_unchanged(given: GivenOptions, mounted: MountOptions, name: str) -> None:
    """Raise UsageError where a remount asks for what only a new mount can change.

    mount(8) passes the line of fstab on, too, so what is as it was is no such wish.
    """
    for option, text in given.own.items():
        if getattr(given.mount, option) != getattr(mounted, option):
            raise UsageError(
                f"the mount option '{text}' cannot be changed while '{name}' is mounted: unmount it, then mount it anew"
            )


def _is_known(option: str) -> bool:
    try:
        parse_options(option)
    except UsageError:
        return False
    return True
