"""The mount table, ACLs and the rules of setuid: pure functions."""

import stat
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncfs.engine.tree.posix import AttributeChange, Attributes
from syncfs.model.errors import PosixError
from syncfs.mount import acl
from syncfs.mount.privileges import without_privileges
from syncfs.mount.table import Mount, mounts
from syncfs.mount.utab import is_registered

MODES = st.integers(0, 0o777)
NAMED = acl.parse(
    acl.encode(
        (
            acl.Entry(acl.USER_OBJ, 6, 0),
            acl.Entry(acl.USER, 7, 1000),
            acl.Entry(acl.GROUP_OBJ, 4, 0),
            acl.Entry(acl.MASK, 5, 0),
            acl.Entry(acl.OTHER, 1, 0),
        )
    )
)
PLAIN = tuple(entry for entry in NAMED if entry.tag in (acl.USER_OBJ, acl.GROUP_OBJ, acl.OTHER))


def test_the_mount_table_is_read_with_its_escapes() -> None:
    lines = [
        rb"36 35 98:0 /mnt1 /mnt\0402\134x rw,noatime master:1 - fuse.syncfs B\303\274ro rw,errors=continue",
        b"37 35 0:51 / /proc rw - proc proc rw",
        b"nonsense",
        b"",
    ]
    assert mounts(lines) == [
        Mount(98, 0, "/mnt 2\\x", "fuse.syncfs", "Büro"),
        Mount(0, 51, "/proc", "proc", "proc"),
    ]
    line = b"90 50 0:54 / /srv rw,nosuid - fuse.syncfs photos rw,user_id=1000,group_id=100,default_permissions"
    assert mounts([line]) == [Mount(0, 54, "/srv", "fuse.syncfs", "photos", 1000)]


def test_an_acl_and_its_mode() -> None:
    assert acl.mode_of(NAMED) == 0o651
    assert acl.mode_of(PLAIN) == 0o641
    assert (acl.is_plain(PLAIN), acl.is_plain(NAMED)) == (True, False)


@given(MODES)
def test_chmod_sets_what_the_mode_says(mode: int) -> None:
    for present in (NAMED, PLAIN):
        assert acl.mode_of(acl.with_mode(present, mode)) == mode
        assert acl.mode_of(acl.inherited(present, mode)) == mode & acl.mode_of(present)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_acl_or_einval(value: bytes) -> None:
    with suppress(PosixError):
        assert acl.encode(acl.parse(value)) == value


@pytest.mark.parametrize("tags", [(), (1, 4), (1, 4, 32, 32), (1, 2, 4, 32), (1, 4, 32, 64)])
def test_impossible_acls_are_refused(tags: tuple[int, ...]) -> None:
    with pytest.raises(PosixError):
        acl.parse(acl.encode(tuple(acl.Entry(tag, 4, 0) for tag in tags)))


@pytest.mark.parametrize(
    ("mode", "uid", "change", "expected"),
    [
        (stat.S_IFREG | 0o6755, 0, AttributeChange(uid=1), 0o755),
        (stat.S_IFREG | 0o6745, 0, AttributeChange(gid=1), 0o2745),
        (stat.S_IFDIR | 0o6755, 1, AttributeChange(uid=1), None),
        (stat.S_IFREG | 0o6755, 0, AttributeChange(size=1), None),
        (stat.S_IFREG | 0o6755, 1, AttributeChange(size=1), 0o755),
        (stat.S_IFREG | 0o6755, 1, AttributeChange(mtime=1), None),
        (stat.S_IFREG | 0o6755, 1, AttributeChange(), 0o755),
        (stat.S_IFREG | 0o6755, 1, AttributeChange(mode=0o4700, uid=2), 0o4700),
        (stat.S_IFREG | 0o755, 1, AttributeChange(uid=1), None),
    ],
)
def test_when_setuid_goes(mode: int, uid: int, change: AttributeChange, expected: int | None) -> None:
    assert without_privileges(lambda: _owned(mode, by=7), uid, change, lambda: True).mode == expected


def test_only_the_owner_gives_a_file_to_nobody_new() -> None:
    setuid = _owned(stat.S_IFREG | 0o4777, by=7)
    assert without_privileges(lambda: setuid, 7, AttributeChange(), lambda: False).mode == 0o777
    with pytest.raises(PosixError):
        without_privileges(lambda: setuid, 8, AttributeChange(), lambda: False)


def _owned(mode: int, by: int) -> Attributes:
    return Attributes(2, mode, 1, by, by, 0, 0, 0, 0, 0, 0)


def test_the_line_of_a_mount_is_found_in_the_table_of_libmount() -> None:
    lines = [
        b"SRC=photos TARGET=/srv/my\\040photos ROOT=/ OPTS=uhelper=syncfs",
        b"ID=37 SRC=/dev/sda1 TARGET=/mnt ROOT=/ ATTRS=TARGET=/not",
        b"",
    ]
    assert is_registered("/srv/my photos", lines) and is_registered("/mnt", lines)
    assert not is_registered("/srv/my", lines) and not is_registered("/srv", [])
