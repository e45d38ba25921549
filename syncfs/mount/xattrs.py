"""Extended attributes and ACLs, as far as a mount has them.

`ls -l` asks for two attributes of every file, and every write to a file asks for security.capability; no answer but
ENOSYS is remembered by the kernel, and ENOSYS is remembered for the life of the mount. So whether a mount has
attributes is decided when it begins (`-o xattr=`): `on`, `off`, or `auto`, which is on where the share holds any. With
`off` one ENOSYS ends all these questions; attributes that others set are kept in the share and not shown here.

With `acl` the kernel enforces POSIX ACLs and caches them; we keep mode bits and ACLs in step and let new files inherit.
The kernel has applied the umask to the mode by then, so beside a default ACL the umask still counts (it should not;
pyfuse3 cannot ask the kernel to leave it out). Without `acl`, ACLs are answered with EOPNOTSUPP. Attributes of security
modules (security.*, but for file capabilities) say something about this computer only: there are none.
"""

import errno
import stat
from typing import Final

import pyfuse3

from syncfs.engine.posix import AttributeChange
from syncfs.model.errors import PosixError
from syncfs.mount import acl
from syncfs.mount.volume import Volume

SECURITY: Final = b"security."
CAPABILITY: Final = b"security.capability"
ACLS: Final = frozenset({acl.ACCESS, acl.DEFAULT})


class Xattrs:
    """What a mount answers about attributes; `enabled` and `acls` hold for its life."""

    def __init__(self, volume: Volume, enabled: bool, acls: bool) -> None:
        self._volume = volume
        self.enabled = enabled
        self.acls = acls

    def get(self, ino: int, name: bytes) -> bytes:
        """One attribute."""
        self._refuse_unless_enabled()
        if name.startswith(SECURITY) and name != CAPABILITY:
            raise PosixError(errno.ENODATA)
        self._refuse_unless_kept(name)
        return bytes(self._volume.getxattr(ino, name))

    async def set(self, ino: int, name: bytes, value: bytes, caller: pyfuse3.RequestContext) -> None:
        """Sets an attribute; of an access ACL, the mode bits with it."""
        self._refuse_unless_enabled()
        self._refuse_unless_kept(name)
        if name not in ACLS:
            self._volume.setxattr(ino, name, value, 0)
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

    def list(self, ino: int) -> list[bytes]:
        """The names of the attributes that `get` answers."""
        self._refuse_unless_enabled()
        return [name for name in self._volume.listxattr(ino) if self.acls or name not in ACLS]

    def remove(self, ino: int, name: bytes) -> None:
        """Removes an attribute."""
        self._refuse_unless_enabled()
        self._refuse_unless_kept(name)
        self._volume.removexattr(ino, name)

    def follow_mode(self, ino: int, mode: int) -> None:
        """After chmod(2): the access ACL says the same as the new mode."""
        value = self._acl(ino, acl.ACCESS)
        if value is not None:
            self._volume.setxattr(ino, acl.ACCESS, acl.encode(acl.with_mode(acl.parse(value), mode)), 0)

    def inherited(self, parent: int, mode: int) -> tuple[int, dict[bytes, bytes]]:
        """The mode and the ACLs of what is about to be made in a directory with `mode` (type bits included)."""
        default = self._acl(parent, acl.DEFAULT)
        if default is None:
            return mode, {}
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
        if name.startswith(SECURITY) and name != CAPABILITY:
            raise PosixError(errno.EOPNOTSUPP)
        if name in ACLS and not self.acls:
            raise PosixError(errno.EOPNOTSUPP)


def _groups(caller: pyfuse3.RequestContext) -> set[int]:
    try:
        return {caller.gid, *pyfuse3.get_sup_groups(caller.pid)}
    except (OSError, RuntimeError):
        return {caller.gid}
