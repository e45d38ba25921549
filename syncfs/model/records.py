"""The records of a share: everything that happened, as values.

Each record is stamped `(lamport, device)`. The device is that of the feed that holds the record, so it is not repeated
in it. `time` is the wall clock in ns since 1970 for people to read; no wall clock decides anything. Records are encoded
with msgpack as arrays; a decoder ignores elements it does not know at the end of an array.
"""

import stat
from hashlib import blake2b

from msgspec import Struct

from syncfs.model.chunking import INLINE_LIMIT, chunk_count
from syncfs.model.errors import ForeignError
from syncfs.model.ids import HASH_BYTES, MAX_LAMPORT, NODE_BYTES, STAMP_BYTES

ENTRY_BYTES = 2 * HASH_BYTES
"""A manifest entry: chunk id ‖ address, or all zero for a hole."""
HOLE = bytes(ENTRY_BYTES)
INLINE = -1
"""The `depth` of a version whose body is its content."""
THINNED = -2
"""The `depth` of a version whose content was thinned out of history; its body is the digest of that content."""
DIGEST_BYTES = 16
MAX_BODY_ENTRIES = 64
"""A manifest of more entries is cut into leaves (see model.manifest)."""
MAX_DEPTH = 5
"""Enough for files of 2**63 bytes."""
MAX_NAME = 255
MAX_TARGET = 4095
MAX_XATTR_BYTES = 64 * 1024
MAX_PARENTS = 64
MAX_SIZE = 2**63 - 1

KINDS = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK})


class Birth(Struct, frozen=True, array_like=True):
    """What never changes in a node: its kind (an S_IFMT value), device number and symlink target."""

    kind: int
    rdev: int = 0
    target: bytes = b""


class Owner(Struct, frozen=True, array_like=True):
    """Numeric owner and group with the names they had where they were set (empty where none was known)."""

    uid: int
    gid: int
    user: str = ""
    group: str = ""


class Times(Struct, frozen=True, array_like=True):
    """Access and modification time in ns since 1970; may be negative."""

    atime: int
    mtime: int


class NodeRecord(Struct, frozen=True, array_like=True, tag="n"):
    """Sets some field groups of a node; per group the greatest stamp wins, None leaves a group as it is."""

    lamport: int
    time: int
    node: bytes
    birth: Birth | None = None
    mode: int | None = None
    owner: Owner | None = None
    times: Times | None = None
    xattrs: dict[bytes, bytes] | None = None


class LinkRecord(Struct, frozen=True, array_like=True, tag="l"):
    """Places a link: `name` in directory `parent` shows `node`; the greatest stamp of a link wins.

    `seen` holds, where `deleted` took the last name that the deleting device knew of a file, the heads it had seen, and
    is empty otherwise. `from_parent` and `from_name` tell where a moved link was before: a move that takes part in a
    cycle is undone to there.
    """

    lamport: int
    time: int
    link: bytes
    node: bytes
    parent: bytes
    name: bytes
    deleted: bool = False
    seen: tuple[bytes, ...] = ()
    from_parent: bytes = b""
    from_name: bytes = b""


class VersionRecord(Struct, frozen=True, array_like=True, tag="v"):
    """One content of a file. Its stamp is its id; `parents` are the versions that it replaces.

    `depth` is INLINE where `body` is the content itself, THINNED where it is the content's digest; otherwise `body` is
    the top of a manifest tree of that depth.
    `asked` says that a program (by fsync) or a person wanted just this state kept.
    """

    lamport: int
    time: int
    node: bytes
    parents: tuple[bytes, ...]
    size: int
    mtime: int
    depth: int
    body: bytes
    asked: bool = False


class SettingRecord(Struct, frozen=True, array_like=True, tag="s"):
    """A share-wide setting, such as the retention; the greatest stamp of a key wins."""

    lamport: int
    time: int
    key: str
    value: str


Record = NodeRecord | LinkRecord | VersionRecord | SettingRecord


def check_name(name: bytes) -> None:
    """Refuse what cannot be a name in a directory. Raises ForeignError."""
    if not 0 < len(name) <= MAX_NAME or b"/" in name or b"\0" in name or name in (b".", b".."):
        raise ForeignError(f"a record holds {name[:40]!r}, which cannot be a file name")


def check_record(record: Record) -> None:
    """Refuse a foreign record that no honest device writes. Raises ForeignError."""
    if not 0 < record.lamport <= MAX_LAMPORT:
        raise ForeignError("a record has an impossible lamport")
    match record:
        case NodeRecord():
            _require(len(record.node) == NODE_BYTES, "node id")
            if record.birth is not None:
                _require(record.birth.kind in KINDS, "kind")
                _require(len(record.birth.target) <= MAX_TARGET and b"\0" not in record.birth.target, "symlink target")
                _require(0 <= record.birth.rdev < 2**64, "device number")
            _require(record.mode is None or 0 <= record.mode <= 0o7777, "mode")
            if record.owner is not None:
                _require(0 <= record.owner.uid < 2**32 and 0 <= record.owner.gid < 2**32, "owner")
            if record.xattrs is not None:
                _require(
                    sum(len(key) + len(value) for key, value in record.xattrs.items()) <= MAX_XATTR_BYTES, "xattrs"
                )
        case LinkRecord():
            _require(len(record.link) == len(record.node) == len(record.parent) == NODE_BYTES, "link")
            _require(len(record.from_parent) in (0, NODE_BYTES), "former place")
            _require(len(record.seen) <= MAX_PARENTS and all(len(seen) == STAMP_BYTES for seen in record.seen), "heads")
            check_name(record.name)
            if record.from_name:
                check_name(record.from_name)
        case VersionRecord():
            _require(len(record.node) == NODE_BYTES, "node id")
            _require(
                len(record.parents) <= MAX_PARENTS and all(len(p) == STAMP_BYTES for p in record.parents), "parents"
            )
            _require(0 <= record.size <= MAX_SIZE, "size")
            _check_body(record)
        case SettingRecord():
            _require(len(record.key) <= 200 and len(record.value) <= 10_000, "setting")


def _check_body(record: VersionRecord) -> None:
    if record.depth == THINNED:
        _require(len(record.body) == DIGEST_BYTES, "digest")
    elif record.depth == INLINE:
        _require(len(record.body) == record.size <= INLINE_LIMIT, "inline content")
    else:
        entries, odd = divmod(len(record.body), ENTRY_BYTES)
        _require(not odd and 0 <= record.depth <= MAX_DEPTH and entries <= MAX_BODY_ENTRIES, "manifest")
        _require(record.depth > 0 or entries == chunk_count(record.size), "manifest")


def content_digest(size: int, depth: int, body: bytes) -> bytes:
    """Bytes that are equal for versions of equal content, be they thinned or not."""
    if depth == THINNED:
        return body
    return blake2b(b"%d %d " % (size, depth) + body, digest_size=DIGEST_BYTES, person=b"syncfs content").digest()


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ForeignError(f"a record has an impossible {what}")
