"""The options after `-o` that are for the command itself, taken out before the mount reads the rest."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from syncfs.model.errors import UsageError
from syncfs.mount.options import MountOptions, parse_options

_FOR_MOUNT_ITSELF: Final = ("helper=", "uhelper=")
"""What mount(8) passes on though only it can use it."""


@dataclass(frozen=True, slots=True)
class GivenOptions:
    """What the mount is to be like, and the home that replaces the default one where `home=/PATH` was given.

    `remount` asks for a change of what is mounted already.
    """

    mount: MountOptions = field(default_factory=MountOptions)
    home: Path | None = None
    remount: bool = False


def read_options(texts: Iterable[str], sloppy: bool = False) -> GivenOptions:
    """Read the texts after each `-o`; `sloppy` leaves out what nobody knows. Raises UsageError."""
    passed: list[str] = []
    home: Path | None = None
    given = [part.strip() for text in texts for part in text.split(",")]
    remount = "remount" in given
    sloppy = sloppy or remount  # then mount(8) adds all that the kernel's table has
    for option in given:
        if option.startswith("home="):
            home = Path(option.removeprefix("home="))
            if not home.is_absolute():
                raise UsageError(f"'{option}' names no absolute path: write home=/PATH")
        elif (
            option != "remount" and not option.startswith(_FOR_MOUNT_ITSELF) and not (sloppy and not _is_known(option))
        ):
            passed.append(option)
    return GivenOptions(parse_options(passed), home, remount)


def _is_known(option: str) -> bool:
    try:
        parse_options(option)
    except UsageError:
        return False
    return True
