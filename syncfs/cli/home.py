"""The home: the one directory in which syncfs keeps its vault, its shares and what runs.

    vault                 secrets and settings (crypto.vault)
    shares/<share id>/    index, chunks and journals of a share
    run/<share id>.json   who runs the share now (cli.running)
    run/<share id>.sock   its control socket
    log/<name>.log        the log of a share in the background

SYNCFS_HOME names it; without that it is /var/lib/syncfs for root and syncfs in the XDG data directory for users.
"""

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from syncfs.model.errors import HomeError, SetupError, UsageError

SYSTEM_HOME: Final = Path("/var/lib/syncfs")
MAX_SHARE_NAME: Final = 64
_CHOOSE: Final = "set SYNCFS_HOME to a directory of your own"


@dataclass(frozen=True, slots=True)
class Home:
    """Where everything in a home is."""

    path: Path

    @property
    def vault(self) -> Path:
        """The file with secrets and settings."""
        return self.path / "vault"

    @property
    def run(self) -> Path:
        """The directory of records and sockets of what runs."""
        return self.path / "run"

    def share(self, share: str) -> Path:
        """The directory of a share's data."""
        return self.path / "shares" / share

    def record(self, share: str) -> Path:
        """The record of who runs a share."""
        return self.run / f"{share}.json"

    def socket(self, share: str) -> Path:
        """The control socket of a share."""
        return self.run / f"{share}.sock"

    def log(self, name: str) -> Path:
        """The log of a share that runs in the background."""
        return self.path / "log" / f"{name}.log"

    def unfinished(self, share: str) -> Path:
        """A file that is there while a share holds only a part of the tree with which it is to begin."""
        return self.share(share) / "unfinished"

    def lack_of(self, share: str, name: str) -> str | None:
        """Why a share cannot be used, whose making was cut off in the middle of its tree; None where it was not."""
        if not self.unfinished(share).exists():
            return None
        return (
            f"'{name}' holds only a part of its tree, for 'syncfs create {name} --from …' was cut off: "
            f"take it away with 'syncfs leave {name}', then create it again"
        )

    def prepare(self) -> None:
        """Make the directories that are missing, for the owner alone. Raises SetupError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for directory in (self.run, self.path / "log", self.path / "shares"):
                directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise _unusable(self.path, error) from error
        self.require_readable()

    def require_readable(self) -> None:
        """Raise SetupError where the home exists and cannot be used by us."""
        try:
            with os.scandir(self.path):
                pass
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unusable(self.path, error) from error


def find_home(environment: Mapping[str, str], uid: int) -> Home:
    """The home of this environment and user; it need not exist yet. Raises SetupError where none can be told."""
    if named := environment.get("SYNCFS_HOME"):
        return Home(Path(named).absolute())
    if uid == 0:
        return Home(SYSTEM_HOME)
    data = environment.get("XDG_DATA_HOME", "")
    if data.startswith("/"):  # the specification has relative paths ignored
        return Home(Path(data) / "syncfs")
    own = environment.get("HOME") or _account_directory(uid)
    if not own:
        raise SetupError(f"this user has no home directory: {_CHOOSE}")
    return Home(Path(own) / ".local" / "share" / "syncfs")


def this_home() -> Home:
    """The home of this process. Raises SetupError where it cannot be read."""
    home = find_home(os.environ, os.geteuid())
    home.require_readable()
    return home


def named_home(path: Path) -> Home:
    """The home that an option names. Raises SetupError where it cannot be read."""
    home = Home(path)
    home.require_readable()
    return home


def check_share_name(name: str) -> str:
    """A name that a share may bear in a home, in fstab and in file names. Raises UsageError."""
    if not 0 < len(name) <= MAX_SHARE_NAME:
        raise UsageError(f"a share's name has 1 to {MAX_SHARE_NAME} characters: choose another one")
    odd = next((char for char in name if char in "/\\:" or char.isspace() or not char.isprintable()), None)
    if odd is not None:
        raise UsageError(f"a share's name cannot hold {odd!r}: choose another one")
    if name[0] in "-.#":
        raise UsageError(f"a share's name cannot begin with '{name[0]}': choose another one")
    return name


def _account_directory(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return ""


def _unusable(path: Path, error: OSError) -> HomeError:
    if isinstance(error, PermissionError):
        return HomeError(f"the home {path} may not be read and written by this user: allow it, or {_CHOOSE}")
    if isinstance(error, NotADirectoryError | FileExistsError):
        return HomeError(f"the home {path} is not a directory: move it away, or {_CHOOSE}")
    return HomeError(f"the home {path} cannot be used ({error.strerror or error}): mend that, or {_CHOOSE}")
