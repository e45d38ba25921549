"""The vault: one small file of the home with the device's seed and the secrets of its shares.

The file has mode 0600 and is replaced as a whole: written under another name, synced, renamed, the directory synced.
So it is, after any crash, the old one or the new one. Several processes may hold the same vault: every change is made
under a lock, to what the file holds at that moment. Layout in docs/formats/secrets.md.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct

from syncfs.crypto.hashing import HASH_BYTES, blake3
from syncfs.crypto.identity import SEED_BYTES, DeviceIdentity
from syncfs.model.errors import DamageError, HomeError, NameTakenError, NewerFormatError, UnknownShareError

MAGIC: Final = b"syncfs vault\n"
VERSION: Final = 1
WRAPPED_BY_NOTHING: Final = 0
_HEAD_BYTES = len(MAGIC) + 2
MAX_VAULT_BYTES: Final = 16 * 2**20


class VaultShare(Struct, frozen=True, array_like=True):
    """A share of this home; None is what is not known yet. `options` are what `syncfs config` shows and sets."""

    name: str
    secret: str
    share_public: bytes | None = None
    salt: bytes | None = None
    certificate: bytes | None = None
    options: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"VaultShare({self.name!r})"


class _Content(Struct, frozen=True, array_like=True):
    """What the file holds, as a msgpack array."""

    device_seed: bytes
    shares: list[VaultShare]


class Vault:
    """The open vault of a home. `shares` and `identity` are what the file held when it was last read or written."""

    def __init__(self, path: Path, content: _Content) -> None:
        self._path = path
        self._take(content)

    @classmethod
    def open(cls, path: Path, random: Callable[[int], bytes]) -> "Vault":
        """Read the vault at `path`, or make one for a new device; `random` gives the device's seed.

        Raises SetupError if the home cannot be used, DamageError, NewerFormatError.
        """
        content = _read(path)
        if content is None:
            _make_home(path.parent)
            with _locked(path):
                content = _read(path)
                if content is None:
                    content = _Content(random(SEED_BYTES), [])
                    _write(path, content)
        return cls(path, content)

    @property
    def identity(self) -> DeviceIdentity:
        """The keys of this device."""
        return self._identity

    @property
    def shares(self) -> Mapping[str, VaultShare]:
        """The shares by name."""
        return self._shares

    def reload(self) -> None:
        """Read again what other processes may have changed."""
        self._take(self._read_existing())

    def put_share(self, share: VaultShare, *, replace: bool = True) -> None:
        """Add a share or change the one of that name; durable on return. Raises BusyError where not `replace`."""
        with _locked(self._path):
            content = self._read_existing()
            if not replace and any(known.name == share.name for known in content.shares):
                raise NameTakenError(f"there is a share named {share.name} in this home already: choose another name")
            others = [known for known in content.shares if known.name != share.name]
            self._write(_Content(content.device_seed, sorted([*others, share], key=lambda known: known.name)))

    def remove_share(self, name: str) -> None:
        """Forget a share and its secret; durable on return. Raises UnknownShareError."""
        with _locked(self._path):
            content = self._read_existing()
            others = [known for known in content.shares if known.name != name]
            if len(others) == len(content.shares):
                raise UnknownShareError(f"there is no share named {name} in this home: syncfs list shows all")
            self._write(_Content(content.device_seed, others))

    def _read_existing(self) -> _Content:
        content = _read(self._path)
        if content is None:
            raise DamageError(f"{self._path} has vanished while it was in use: put it back from a backup")
        return content

    def _write(self, content: _Content) -> None:
        _write(self._path, content)
        self._take(content)

    def _take(self, content: _Content) -> None:
        self._identity = DeviceIdentity(content.device_seed)
        self._shares = MappingProxyType({share.name: share for share in content.shares})


def _encode(content: _Content) -> bytes:
    data = MAGIC + bytes([VERSION, WRAPPED_BY_NOTHING]) + msgspec.msgpack.encode(content)
    return data + blake3(data)


def _decode(data: bytes, path: Path) -> _Content:
    damaged = f"{path} is damaged: put it back from a backup, or move it away and join the shares again"
    if not data.startswith(MAGIC) or len(data) < _HEAD_BYTES:
        raise DamageError(damaged)
    if data[len(MAGIC)] > VERSION or data[len(MAGIC) + 1] != WRAPPED_BY_NOTHING:
        raise NewerFormatError(f"{path} was written by a newer syncfs: install that version or a later one")
    if blake3(data[:-HASH_BYTES]) != data[-HASH_BYTES:]:
        raise DamageError(damaged)
    try:
        content = msgspec.msgpack.decode(data[_HEAD_BYTES:-HASH_BYTES], type=_Content)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise DamageError(damaged) from None
    if len(content.device_seed) != SEED_BYTES:
        raise DamageError(damaged)
    return content


def _read(path: Path) -> _Content | None:
    """The content of the file; None if there is none."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                os.fchmod(file.fileno(), 0o600)
            data = file.read(MAX_VAULT_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HomeError(
            f"the home of syncfs cannot be read ({path}: {error.strerror}): run syncfs as the user who owns it, "
            "or set SYNCFS_HOME"
        ) from None
    return _decode(data, path)


def _make_home(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(directory, error) from None


def _write(path: Path, content: _Content) -> None:
    fresh = path.with_name(path.name + ".new")
    try:
        with suppress(FileNotFoundError):
            fresh.unlink()
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(_encode(content))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise _unwritable(path, error) from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Nobody else changes the vault meanwhile. The lock is a file of its own, as the vault is replaced."""
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _unwritable(path: Path, error: OSError) -> HomeError:
    return HomeError(
        f"the home of syncfs cannot be written ({path}: {error.strerror}): free space, run syncfs as the user who owns "
        "it, or set SYNCFS_HOME"
    )
