"""The options of `-o`, as they come from people, fstab and mount(8): which are for whom.

Options of mount(8) and systemd that mean nothing to a file system are dropped. `home=` and `nonempty` are for the
command itself. All others go on to the mount, which knows them or refuses them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from syncfs.model.errors import UsageError

_DROPPED: Final = frozenset(
    {
        "defaults",
        "auto",
        "noauto",
        "user",
        "nouser",
        "users",
        "owner",
        "group",
        "_netdev",
        "nofail",
        "rw",
        "loud",
        "silent",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
    }
)
_DROPPED_STARTS: Final = ("x-", "X-", "comment=", "uhelper=", "helper=")


@dataclass(frozen=True, slots=True)
class MountOptions:
    """`home` replaces the default home, `nonempty` allows to hide files, `passed` go to the mount."""

    passed: tuple[str, ...] = ()
    home: Path | None = None
    nonempty: bool = False


def read_options(texts: Iterable[str]) -> MountOptions:
    """Sort out the texts after each `-o`; a later option counts more. Raises UsageError."""
    passed: list[str] = []
    home: Path | None = None
    nonempty = False
    for option in (part.strip() for text in texts for part in text.split(",")):
        if not option or option in _DROPPED or option.startswith(_DROPPED_STARTS):
            continue
        if option == "nonempty":
            nonempty = True
        elif option.startswith("home="):
            home = Path(option.removeprefix("home="))
            if not home.is_absolute():
                raise UsageError(f"'{option}' names no absolute path: write home=/PATH")
        else:
            passed.append(option)
    return MountOptions(tuple(passed), home, nonempty)
