"""`.syncfs/history/<time>/…`: old trees as read-only directories at the root of the mount.

`.syncfs` is not listed in the root, so that no program that walks the tree walks through its whole past; it is there
for whoever asks for it by name. A real entry of that name in the root would be hidden by it, so none can be made.
`<time>` is any moment that has passed and that retention reaches, in ISO 8601 (`2026-05-04`, `2026-05-04T12:00`,
`2026-05-04T12:00:00Z`), by the clock here where it names no zone. `history` itself lists midnights and the last full
hours.

What a moment shows never changes, which suits the kernel's infinite caches. The exception are records that come late
from a device that was away: then the names of the moments they belong to are taken from the kernel, and whoever looks
again gets a new tree under new inode numbers, while whoever stands in the old one stays in it. Inode numbers here have
a bit of their own and are never used twice.
"""

import errno
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from syncfs.engine.chunks.cache import ChunkCache
from syncfs.engine.chunks.content import BytesLike, Content
from syncfs.engine.history.finding import nanoseconds
from syncfs.engine.keeping.retention import HOUR, SECOND, Policy
from syncfs.engine.tree.owners import OwnerView
from syncfs.engine.tree.posix import Attributes, EntryChanged, Listed
from syncfs.index.index import ROOT_INO, Index, Node
from syncfs.index.moment import ROOT_FOLDER, Moment, PastEntry
from syncfs.model.errors import PosixError
from syncfs.model.ids import ROOT_NODE, LinkId

PAST_BIT = 1 << 62
"""In every inode number and handle of the history."""
TOP_NAME = b".syncfs"
TOP, HISTORY = PAST_BIT + 1, PAST_BIT + 2
_FIRST_FREE = PAST_BIT + 16
_ROOT = PastEntry(b"", ROOT_INO, stat.S_IFDIR, LinkId(ROOT_NODE), ROOT_FOLDER)


@dataclass(frozen=True, slots=True)
class _Shown:
    """What an inode number of the history stands for."""

    moment: Moment
    entry: PastEntry
    parent: int


class PastView:
    """The trees of the past, by inode number; reading only."""

    def __init__(
        self, index: Index, chunks: ChunkCache, owners: OwnerView, wall: Callable[[], int], policy: Callable[[], Policy]
    ) -> None:
        self._index = index
        self._chunks = chunks
        self._owners = owners
        self._wall = wall
        self._policy = policy
        self._shown: dict[int, _Shown] = {}
        self._numbers: dict[tuple[int, tuple[object, ...]], int] = {}
        self._names: dict[bytes, int] = {}
        self._open: dict[int, Content] = {}
        self._next = _FIRST_FREE

    def lookup(self, parent: int, name: bytes) -> Attributes:
        """The node behind a name. Raises PosixError."""
        if name == b"..":
            return self.getattr(self.parent(parent))
        if parent == TOP:
            if name != b"history":
                raise PosixError(errno.ENOENT)
            return self.getattr(HISTORY)
        if parent == HISTORY:
            return self.getattr(self._moment_of(name))
        shown = self._must(parent)
        entry = shown.moment.lookup(shown.entry.folders, name)
        if entry is None:
            raise PosixError(errno.ENOENT)
        return self.getattr(self._number(parent, shown.moment, entry))

    def parent(self, ino: int) -> int:
        """The directory that holds a directory."""
        if ino == TOP:
            return ROOT_INO
        return TOP if ino == HISTORY else self._must(ino).parent

    def getattr(self, ino: int) -> Attributes:
        """What stat(2) shows. Raises PosixError."""
        if ino in (TOP, HISTORY):
            root = self._index.nodes.must(ROOT_INO)
            uid, gid = self._owners.shown(root)
            return Attributes(ino, stat.S_IFDIR | 0o555, 1, uid, gid, 0, 0, 0, root.mtime, root.mtime, root.mtime)
        shown = self._must(ino)
        node = shown.moment.node(shown.entry)
        owner = node.owner
        uid, gid = self._owners.shown(
            Node(ino, ROOT_NODE, uid=owner.uid, gid=owner.gid, user=owner.user, group=owner.group)
        )
        return Attributes(
            ino, node.kind | node.mode, node.nlink, uid, gid, node.rdev, node.size, (node.size + 511) // 512,
            node.atime, node.mtime, node.ctime,
        )  # fmt: skip

    def readdir(self, ino: int, after: int) -> Sequence[Listed]:
        """The entries of a directory after a cookie."""
        if ino == TOP:
            return [Listed(3, b"history", self.getattr(HISTORY))] if after < 3 else []
        if ino == HISTORY:
            names = self._offered()
            found = [(3 + number, name, self._moment_of(name)) for number, name in enumerate(names)]
            return [Listed(cookie, name, self.getattr(below)) for cookie, name, below in found if cookie > after]
        shown = self._must(ino)
        entries = shown.moment.entries(shown.entry.folders)
        start = max(after - 2, 0)
        return [
            Listed(3 + number, entry.name, self.getattr(self._number(ino, shown.moment, entry)))
            for number, entry in enumerate(entries[start : start + 200], start)
        ]

    def readlink(self, ino: int) -> bytes:
        """The target of a symlink. Raises PosixError."""
        shown = self._must(ino)
        if shown.entry.kind != stat.S_IFLNK:
            raise PosixError(errno.EINVAL)
        return shown.moment.node(shown.entry).target

    def xattrs(self, ino: int) -> dict[bytes, bytes]:
        """The extended attributes."""
        if ino in (TOP, HISTORY):
            return {}
        shown = self._must(ino)
        return dict(shown.moment.node(shown.entry).xattrs)

    def open(self, ino: int) -> int:
        """Open a file for reading; its handle. Raises PosixError."""
        shown = self._must(ino)
        if shown.entry.kind != stat.S_IFREG:
            raise PosixError(errno.EISDIR if shown.entry.folders else errno.ENXIO)
        stamp = shown.moment.node(shown.entry).version
        version = self._index.version(stamp) if stamp is not None else None
        if version is None:
            content = Content(0, -1, b"", self._chunks)
        else:
            content = Content(version.size, version.depth, version.body, self._chunks)
        handle = self._next
        self._next += 1
        self._open[handle] = content
        return handle

    async def read(self, handle: int, offset: int, size: int) -> BytesLike:
        """Bytes of an open file. Raises UnavailableError, DamageError, PosixError."""
        content = self._open.get(handle)
        if content is None:
            raise PosixError(errno.EBADF)
        return await content.read(offset, offset + size)

    def release(self, handle: int) -> None:
        """Close a file."""
        self._open.pop(handle, None)

    def in_use(self) -> list[tuple[int, bytes, list[bytes]]]:
        """The manifests (depth, body) of the files that are open."""
        return [(*content.manifest, []) for content in self._open.values()]

    def forget(self, ino: int) -> None:
        """The kernel no longer knows an inode."""
        shown = self._shown.pop(ino, None)
        if shown is not None:
            self._numbers.pop(_key(shown.moment, shown.entry), None)
            for name in [name for name, number in self._names.items() if number == ino]:
                del self._names[name]

    def came(self, time: int) -> list[EntryChanged]:
        """Records as old as this came from elsewhere: what the kernel must no longer believe."""
        late = [name for name, ino in self._names.items() if self._shown[ino].moment.time >= time]
        return [EntryChanged(HISTORY, name, self._names.pop(name)) for name in late]

    # --- inside -----------------------------------------------------------------------------------------------------

    def _moment_of(self, name: bytes) -> int:
        known = self._names.get(name)
        if known is not None:
            return known
        try:
            time = nanoseconds(datetime.fromisoformat(name.decode()).astimezone())
        except (ValueError, OverflowError, OSError):
            raise PosixError(errno.ENOENT) from None
        now = self._wall()
        if time > now:
            # Not ENOENT, which the kernel would believe for ever.
            raise PosixError(errno.EINVAL)
        if time < now - self._policy().longest:
            raise PosixError(errno.ENOENT)
        moment = Moment(self._index.database, time, dict(self._index.feeds.device_names()))
        self._names[name] = number = self._number(HISTORY, moment, _ROOT)
        return number

    def _offered(self) -> list[bytes]:
        """The moments that the listing of `history` names."""
        now = self._wall()
        first = self._index.database.read("SELECT min(time) FROM links")[0] or now
        policy = self._policy()
        begin = max(first, now - max(policy.all, policy.daily))
        hour = datetime.fromtimestamp(now // HOUR * HOUR // SECOND, UTC)
        times = {hour - timedelta(hours=number) for number in range(24)}
        times |= {hour.replace(hour=0) - timedelta(days=number) for number in range(366)}
        return [f"{time:%Y-%m-%dT%H:%M:%SZ}".encode() for time in sorted(times) if nanoseconds(time) >= begin]

    def _number(self, parent: int, moment: Moment, entry: PastEntry) -> int:
        key = _key(moment, entry)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = self._next
            self._next += 1
            self._shown[number] = _Shown(moment, entry, parent)
        return number

    def _must(self, ino: int) -> _Shown:
        shown = self._shown.get(ino)
        if shown is None:
            raise PosixError(errno.ESTALE)
        return shown


def _key(moment: Moment, entry: PastEntry) -> tuple[int, tuple[object, ...]]:
    return id(moment), (entry.ino, entry.head if entry.is_copy else None)
