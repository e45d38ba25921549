"""The tables of a share's index, column by column, and their migrations.

The index is a cache of the signed feeds plus what is local to this computer (presence, pins). Inode numbers are given
out once and never again, whatever happens to the node, because NFS and the kernel remember them.
"""

import sqlite3

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from syncfs.model.errors import NewerFormatError

SCHEMA_VERSION = 4
"""Raised with every migration; an index of a greater version is left untouched."""

ROOT_INO = 1

_TABLES = """
-- key and value of what exists once: lamport, sequence, import marks, local options
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;

-- every device whose certificate we saw; certificate is the encoded, verified certificate
CREATE TABLE devices (
    device BLOB PRIMARY KEY, public BLOB NOT NULL, name TEXT NOT NULL, role TEXT NOT NULL, certificate BLOB NOT NULL
) WITHOUT ROWID;

-- one feed per writing device: the newest signed head seen, and up to which sequence its records are applied
CREATE TABLE feeds (device BLOB PRIMARY KEY, head BLOB NOT NULL, sequence INTEGER NOT NULL, applied INTEGER NOT NULL)
WITHOUT ROWID;

-- segments held here, so that they can be passed on; first and last are record numbers in the device's feed
CREATE TABLE segments (
    address BLOB PRIMARY KEY, device BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX segments_of_device ON segments (device, last);

-- nodes, the winning value of each field group; kind 0: only referred to so far, its birth has not arrived.
-- stamps: 24 bytes if all groups have the birth's stamp, else birth, mode, owner, times, xattrs (5 × 24 bytes).
-- head: the version that the node's names show, NULL if never written; size, content_mtime: of that version.
-- copies: stamps, joined, of heads that conflict copies show; hidden: of heads that nothing shows; normally both NULL.
-- mtime is that of the times group; the later of the stamps of head and times group decides which one shows.
-- nlink: names shown; in a folder that is shown, itself or as part of another, 2 + its folders, else 0. What is in a
-- folder that is not shown, because a folder above it has not arrived, does not count.
-- view_of: in a folder, the folder as one with which it is shown; otherwise the row stands for a conflict copy and this
-- is the file of which it shows a head. Its node id is that which the copy gets when it becomes a file of its own.
-- Rows are never deleted.
CREATE TABLE nodes (
    ino INTEGER PRIMARY KEY AUTOINCREMENT, node BLOB UNIQUE NOT NULL, kind INTEGER NOT NULL DEFAULT 0,
    rdev INTEGER NOT NULL DEFAULT 0, target BLOB NOT NULL DEFAULT x'', mode INTEGER NOT NULL DEFAULT 0,
    uid INTEGER NOT NULL DEFAULT 0, gid INTEGER NOT NULL DEFAULT 0, user TEXT NOT NULL DEFAULT '',
    grp TEXT NOT NULL DEFAULT '', atime INTEGER NOT NULL DEFAULT 0, mtime INTEGER NOT NULL DEFAULT 0,
    ctime INTEGER NOT NULL DEFAULT 0, xattrs BLOB, nlink INTEGER NOT NULL DEFAULT 0, size INTEGER NOT NULL DEFAULT 0,
    content_mtime INTEGER NOT NULL DEFAULT 0, head BLOB, copies BLOB, hidden BLOB, stamps BLOB NOT NULL, view_of INTEGER
);
CREATE INDEX nodes_views ON nodes (view_of) WHERE view_of IS NOT NULL;

-- links, the winning record of each. parent, name: where it takes effect; recorded_parent, recorded_name: where its
-- record puts it, NULL if that is the same, as it is but for undone moves. shown_parent: the same as parent, or NULL if
-- the link is dead or its node has not arrived.
-- seen: stamps, joined, of the heads any delete had seen. from_parent 0: the record does not tell where it was before.
CREATE TABLE links (
    id INTEGER PRIMARY KEY, link BLOB UNIQUE NOT NULL, ino INTEGER NOT NULL, parent INTEGER NOT NULL,
    name BLOB NOT NULL, deleted INTEGER NOT NULL, seen BLOB NOT NULL, from_parent INTEGER NOT NULL,
    from_name BLOB NOT NULL, stamp BLOB NOT NULL, time INTEGER NOT NULL, shown_parent INTEGER,
    recorded_parent INTEGER, recorded_name BLOB
);
CREATE INDEX links_of_place ON links (shown_parent, name) WHERE shown_parent IS NOT NULL;
CREATE INDEX links_of_node ON links (ino, deleted);
CREATE INDEX links_undone ON links (link) WHERE recorded_parent IS NOT NULL;
CREATE INDEX links_revived ON links (ino) WHERE deleted = 1 AND shown_parent IS NOT NULL;

-- the visible tree, derived from links, nodes and versions. cookie: lasting position in a listing; link: the one that
-- keeps the name. origin: NULL where the name is the link's own, else the name that had a conflict; head: NULL for the
-- node's main head. parent is that of the link. Folders that are not shown, because one above them has not arrived,
-- have entries too; of folders that are shown as one, each has its own.
CREATE TABLE entries (
    cookie INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER NOT NULL, name BLOB NOT NULL, ino INTEGER NOT NULL,
    link INTEGER NOT NULL, origin BLOB, head BLOB, UNIQUE (parent, name)
);
CREATE INDEX entries_in_order ON entries (parent, cookie);
CREATE INDEX entries_of_node ON entries (ino);
CREATE INDEX entries_odd ON entries (parent, origin) WHERE origin IS NOT NULL;

-- versions of files; stamp is the id; parents: stamps, joined. Whoever deletes a row notes its stamp as replaced.
-- A version thinned out of history has depth -2, and as body a digest by which equal contents are known (see past.py).
CREATE TABLE versions (
    stamp BLOB PRIMARY KEY, ino INTEGER NOT NULL, time INTEGER NOT NULL, parents BLOB NOT NULL, size INTEGER NOT NULL,
    mtime INTEGER NOT NULL, depth INTEGER NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX versions_of_node ON versions (ino, stamp);

-- versions that are not here, named as parents by later versions of the same file
CREATE TABLE replaced (stamp BLOB NOT NULL, ino INTEGER NOT NULL, PRIMARY KEY (stamp, ino)) WITHOUT ROWID;

-- share-wide settings; the greatest stamp of a key wins
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL, stamp BLOB NOT NULL) WITHOUT ROWID;

-- chunks held here: pack 0 is a file of its own, otherwise the pack and where in it; used: when it was last of use;
-- elsewhere: 1 once a peer has fetched it from us, or we from a peer
CREATE TABLE chunks (
    address BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL,
    used INTEGER NOT NULL, elsewhere INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX chunks_only_here ON chunks (elsewhere, size) WHERE elsewhere = 0;
CREATE INDEX chunks_of_pack ON chunks (pack, offset) WHERE pack > 0;

-- history: link records that a later record of the same link has replaced, as they were recorded (see past.py)
CREATE TABLE past_links (
    link BLOB NOT NULL, stamp BLOB NOT NULL, time INTEGER NOT NULL, ino INTEGER NOT NULL, parent INTEGER NOT NULL,
    name BLOB NOT NULL, deleted INTEGER NOT NULL, seen BLOB NOT NULL, from_parent INTEGER NOT NULL,
    from_name BLOB NOT NULL, PRIMARY KEY (link, stamp)
) WITHOUT ROWID;
CREATE INDEX past_links_in ON past_links (parent, name);
CREATE INDEX past_links_of ON past_links (ino);
CREATE INDEX links_deleted ON links (parent, name) WHERE deleted = 1;

-- history: values of a node's field groups (1 mode, 2 owner, 3 times, 4 xattrs), present where the group was ever
-- changed, and then all of them, the winning one too; value: in msgpack; time 0: the value that the node was born with
CREATE TABLE past_nodes (
    ino INTEGER NOT NULL, grp INTEGER NOT NULL, stamp BLOB NOT NULL, time INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (ino, grp, stamp)
) WITHOUT ROWID;

-- versions that a program (by fsync) or a person asked for, which are kept however short they were current
CREATE TABLE asked (stamp BLOB PRIMARY KEY) WITHOUT ROWID;

-- chunks held here that perhaps nothing needs: written here and not yet found in a version, or part of a thinned one
CREATE TABLE loose (address BLOB PRIMARY KEY) WITHOUT ROWID;
"""


_SETTING_CHANGES = """
-- history: every record of a setting that came, for the log; what holds now is in settings
CREATE TABLE setting_changes (
    key TEXT NOT NULL, stamp BLOB NOT NULL, time INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (key, stamp)
) WITHOUT ROWID;
"""

_ENTRIES_WITH_THEIR_LINKS = """
-- Before, folders that are shown as one had all their entries in the one that stands for them.
UPDATE entries SET parent = (SELECT l.parent FROM links l WHERE l.id = entries.link)
WHERE parent IN (SELECT view_of FROM nodes WHERE view_of IS NOT NULL AND kind = 16384);
UPDATE links SET shown_parent = parent WHERE shown_parent != parent;
UPDATE nodes SET nlink = 2 + (
    SELECT count(*) FROM entries e JOIN nodes n ON n.ino = e.ino WHERE e.parent = nodes.ino AND n.kind = 16384
) WHERE kind = 16384 AND (
    nlink > 0 AND ino IN (SELECT view_of FROM nodes WHERE view_of IS NOT NULL)
    OR view_of IN (SELECT ino FROM nodes WHERE nlink > 0)
);
DROP INDEX IF EXISTS links_elsewhere;
"""

_LINKS_THAT_STAND = """
-- Before, whether a node has any name left was found among all those that it ever had.
DROP INDEX links_of_node;
CREATE INDEX links_of_node ON links (ino, deleted);
"""


def _create_tables(database: Database) -> None:
    _run(database, _TABLES)


def _create_setting_changes(database: Database) -> None:
    _run(database, _SETTING_CHANGES)


def _move_entries(database: Database) -> None:
    _run(database, _ENTRIES_WITH_THEIR_LINKS)


def _index_links(database: Database) -> None:
    _run(database, _LINKS_THAT_STAND)


def _run(database: Database, tables: str) -> None:
    for statement in tables.split(";\n"):
        if statement.strip():
            database.conn.execute(statement)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an index to today's schema. Raises NewerFormatError, sqlite3.DatabaseError."""
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA_VERSION:
        raise NewerFormatError(
            f"this share's index has format {found}, but this syncfs knows only up to {SCHEMA_VERSION}: "
            "please update syncfs on this computer"
        )
    if found == SCHEMA_VERSION:
        return
    migrations = Migrations("index")
    migrations(name="1-tables")(_create_tables)
    migrations(name="2-setting-changes")(_create_setting_changes)
    migrations(name="3-entries-with-their-links")(_move_entries)
    migrations(name="4-links-that-stand")(_index_links)
    migrations.apply(Database(connection))
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
