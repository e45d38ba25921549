"""A cache that is missing or damaged is an error here, and never a deletion for others."""

import errno
import os
import shutil

import pytest

from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import SHARE, Peer, same, until
from tests.end_to_end.trees import Entry, differences, scan
from tests.mounted.durability.test_failures import content, save

pytestmark = [pytest.mark.fuse, pytest.mark.root, pytest.mark.timeout(180)]

MIB = 1024 * 1024


def two_with_files(group: Group) -> tuple[Peer, Peer, dict[str, Entry]]:
    """Two peers with one tree, all of whose content both have."""
    one, other = group.add("one"), group.add("other")
    (one / "folder").mkdir()
    for number, size in enumerate((0, 10, 5_000, 60_000, 300_000, 3 * MIB)):
        save(one / "folder" / f"file-{size}", content(number, size))
    until(same(one, other), "both are in sync")
    tree = scan(one.mount)
    assert differences(tree, scan(other.mount)) == []
    return one, other, tree


def stays_whole(one: Peer, other: Peer, tree: dict[str, Entry], restart: bool = False) -> None:
    """Whatever happened to `one`, the other has lost nothing, and both agree and can write again."""
    until(same(one, other), "both are in sync", 60)
    if restart:
        one.stop()
        one.start("xattr=on")
    assert differences(tree, scan(other.mount)) == []
    assert differences(tree, scan(one.mount)) == []
    until(lambda: save(one / "from one", b"one") is None, "the one can write again", 60)
    save(other / "from other", b"other")
    until(lambda: (other / "from one").read_bytes() == b"one", "what the one writes arrives", 60)
    until(lambda: (one / "from other").read_bytes() == b"other", "what the other writes arrives", 60)


def test_damaged_chunks_are_fetched_again(group: Group) -> None:
    one, other, tree = two_with_files(group)
    one.stop()
    for path in [*one.data.glob("packs/*.pack"), *one.data.glob("chunks/??/*")]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
        path.write_bytes(data)
    one.start("xattr=on")
    stays_whole(one, other, tree)


def test_removed_chunks_are_fetched_again(group: Group) -> None:
    one, other, tree = two_with_files(group)
    one.stop()
    for path in [*one.data.glob("packs/*.pack"), *one.data.glob("chunks/??/*")]:
        path.unlink()
    one.start("xattr=on")
    stays_whole(one, other, tree)


def test_what_nobody_else_has_is_an_error_and_stays_in_the_tree(group: Group) -> None:
    one, other, tree = two_with_files(group)
    other.stop()
    save(one / "only here", content(77, 3 * MIB))
    tree = scan(one.mount)
    one.stop()
    pack = max(one.data.glob("packs/*.pack"))
    os.truncate(pack, pack.stat().st_size - 2 * MIB)
    one.start("xattr=on")
    told = one.run("check", SHARE, "--json")
    assert told.code == 7, told
    with pytest.raises(OSError) as caught:
        (one / "only here").read_bytes()
    assert caught.value.errno == errno.EIO
    assert set(scan(one.mount, contents=False)) == set(tree)
    other.start("xattr=on")
    until(same(one, other), "both are in sync")
    assert set(scan(other.mount, contents=False)) == set(tree)


def test_a_removed_cache_is_an_error_until_it_is_back(group: Group) -> None:
    one, other, tree = two_with_files(group)
    one.stop()
    for folder in ("packs", "chunks"):
        (one.data / folder).rename(one.data / f"{folder} elsewhere")
    told = one.run("mount", SHARE, one.mount)
    assert told.code != 0 and "is gone" in told.err, told
    assert differences(tree, scan(other.mount)) == []
    for folder in ("packs", "chunks"):
        (one.data / f"{folder} elsewhere").rename(one.data / folder)
    one.start("xattr=on")
    stays_whole(one, other, tree)


def test_a_removed_share_directory_is_told_again_by_the_peers(group: Group) -> None:
    one, other, tree = two_with_files(group)
    one.stop()
    shutil.rmtree(one.data)
    one.start("xattr=on")
    stays_whole(one, other, tree, restart=True)


def test_a_removed_index_is_told_again_by_the_peers(group: Group) -> None:
    one, other, tree = two_with_files(group)
    one.stop()
    for path in one.data.glob("index.db*"):
        path.unlink()
    one.start("xattr=on")
    stays_whole(one, other, tree, restart=True)


def test_a_removed_index_needs_no_restart(group: Group) -> None:
    one, other, _ = two_with_files(group)
    one.stop()
    for path in one.data.glob("index.db*"):
        path.unlink()
    one.start("xattr=on")
    until(same(one, other), "both are in sync", 60)
    until(lambda: save(one / "from one", b"one") is None, "the one can write again", 10)


def test_a_damaged_index_says_what_to_do(group: Group) -> None:
    one, other, tree = two_with_files(group)
    one.stop()
    index = one.data / "index.db"
    size = index.stat().st_size
    with index.open("r+b") as file:
        file.seek(size // 4)
        file.write(os.urandom(size // 2))
    told = one.run("mount", SHARE, one.mount, "-o", "xattr=on")
    if told.code == 0:
        told = one.run("check", SHARE, "--json")
        assert told.code == 7, told
        one.stop()
    assert differences(tree, scan(other.mount)) == []
    rebuilt = one.run("check", SHARE, "--rebuild")
    assert rebuilt.code == 7 and "connect one, and it can be written again by itself" in rebuilt.out, rebuilt
    one.start("xattr=on")
    stays_whole(one, other, tree, restart=True)
