"""Extended attributes and ACLs, as far as a mount has them.

They are there unless `-o xattr=off` says otherwise, which one ENOSYS tells the kernel for the life of the mount;
attributes that others set are then kept in the share and not shown.

The kernel enforces POSIX ACLs and caches them (`noacl` leaves them out); we keep mode bits and ACLs in step and let new
files inherit. The umask counts only where the directory has no default ACL; the kernel leaves it to us.

`ls -l` asks for security.selinux and the access ACL of every file. Attributes of security modules are kept for whoever
sets them, but where nobody did the answer is EOPNOTSUPP, after which ls(1) asks for no other file of the mount. What
file capabilities are not there is ENODATA: the kernel asks for them itself before a file is written.
"""

import errno
import stat
from typing import Final

import pyfuse3

from syncfs.engine.tree.posix import AttributeChange, Caller
from syncfs.model.errors import PosixError
from syncfs.mount import acl
from syncfs.mount.volume import Volume

SECURITY: Final = b"security."
TRUSTED: Final = b"trusted."
CAPABILITY: Final = b"security.capability"
NAMESPACES: Final = (b"user.", TRUSTED, SECURITY)
ACLS: Final = frozenset({acl.ACCESS, acl.DEFAULT})


class Xattrs:
    """What a mount answers about attributes; `enabled` and `acls` hold for its life."""

    def __init__(self, volume: Volume, enabled: bool, acls: bool) -> None:
        self._volume = volume
        self.enabled = enabled
        self.acls = acls

    def get(self, ino: int, name: bytes) -> bytes:
        """One attribute."""
        self._refuse_unless_kept(name)
        try:
            return bytes(self._volume.getxattr(ino, name))
        except PosixError as error:
            if error.errno == errno.ENODATA and name.startswith(SECURITY) and name != CAPABILITY:
                raise PosixError(errno.EOPNOTSUPP) from None
            raise

    async def set(self, ino: int, name: bytes, value: bytes, flags: int, caller: Caller) -> None:
        """Sets an attribute; of an access ACL, the mode bits with it. The kernel sets ACLs without flags."""
        self._refuse_unless_kept(name)
        if name not in ACLS:
            self._volume.setxattr(ino, name, value, flags)
            return
        entries = acl.parse(value)
        if name == acl.DEFAULT:
            self._volume.setxattr(ino, name, value, 0)
            return
        old = self._volume.getattr(ino)
        mode = stat.S_IMODE(old.mode) & ~0o777 | acl.mode_of(entries)
        if mode & stat.S_ISGID and caller.uid != 0 and old.gid not in _groups(caller):
            mode &= ~stat.S_ISGID
        if acl.is_plain(entries):
            self._drop(ino, name)
        else:
            self._volume.setxattr(ino, name, value, 0)
        if mode != stat.S_IMODE(old.mode):
            await self._volume.setattr(ino, AttributeChange(mode=mode), None)

    def list(self, ino: int, uid: int) -> list[bytes]:
        """The names of the attributes that `get` answers; only root is told of trusted ones."""
        self._refuse_unless_enabled()
        names = self._volume.listxattr(ino)
        return [
            name for name in names if (self.acls or name not in ACLS) and (uid == 0 or not name.startswith(TRUSTED))
        ]

    def remove(self, ino: int, name: bytes) -> None:
        """Removes an attribute; an ACL also where there is none."""
        self._refuse_unless_kept(name)
        if name in ACLS:
            self._drop(ino, name)
        else:
            self._volume.removexattr(ino, name)

    def follow_mode(self, ino: int, mode: int) -> None:
        """After chmod(2): the access ACL says the same as the new mode."""
        value = self._acl(ino, acl.ACCESS)
        if value is not None:
            self._volume.setxattr(ino, acl.ACCESS, acl.encode(acl.with_mode(acl.parse(value), mode)), 0)

    def inherited(self, parent: int, mode: int, umask: int) -> tuple[int, dict[bytes, bytes]]:
        """The mode and the ACLs of what is about to be made in a directory with `mode` (type bits included)."""
        default = self._acl(parent, acl.DEFAULT)
        if default is None:
            return mode & ~umask, {}
        entries = acl.inherited(acl.parse(default), mode)
        found = {} if acl.is_plain(entries) else {acl.ACCESS: acl.encode(entries)}
        if stat.S_ISDIR(mode):
            found[acl.DEFAULT] = default
        return mode & ~0o777 | acl.mode_of(entries), found

    def adopt(self, ino: int, found: dict[bytes, bytes]) -> None:
        """Gives a new node the ACLs that it inherits."""
        for name, value in found.items():
            self._volume.setxattr(ino, name, value, 0)

    def _acl(self, ino: int, name: bytes) -> bytes | None:
        if not self.acls:
            return None
        try:
            return bytes(self._volume.getxattr(ino, name))
        except PosixError as error:
            if error.errno != errno.ENODATA:
                raise
            return None

    def _drop(self, ino: int, name: bytes) -> None:
        try:
            self._volume.removexattr(ino, name)
        except PosixError as error:
            if error.errno != errno.ENODATA:
                raise

    def _refuse_unless_enabled(self) -> None:
        if not self.enabled:
            raise PosixError(errno.ENOSYS)

    def _refuse_unless_kept(self, name: bytes) -> None:
        self._refuse_unless_enabled()
        if name in NAMESPACES:
            raise PosixError(errno.EINVAL)
        if not name.startswith(NAMESPACES) and not (self.acls and name in ACLS):
            raise PosixError(errno.EOPNOTSUPP)


def _groups(caller: Caller) -> set[int]:
    try:
        return {caller.gid, *pyfuse3.get_sup_groups(caller.pid)}
    except (OSError, RuntimeError):
        return {caller.gid}
