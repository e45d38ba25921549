"""What the kernel holds that is no longer right, where directories are shown as one.

A program may stand in a directory that has become one with another of the same name, which now stands for both. The
kernel keeps the old inode under that name, so that `getcwd` and relative paths go on working; `Volume` serves the
merged directory under every inode that belongs to it. So what changes in it has to be told for each of them.
"""

from collections.abc import Iterator

from syncfs.index.index import Changes, Index

PAGE = 1000


def stale_names(index: Index, changes: Changes) -> dict[tuple[int, bytes], int | None]:
    """The names (directory, name) that show something else than the kernel may think, and the inode they showed."""
    found: dict[tuple[int, bytes], int | None] = {}
    for (parent, name), before in changes.entries.items():
        shown_in = index.nodes.shown_as(parent)
        now = index.lookup(shown_in, name) if shown_in != parent or before is not None else None
        if now is not None and before is not None:
            if now.ino == before:
                continue
            if index.nodes.shown_as(before) == now.ino:
                for merged in index.merged_inos(now.ino):
                    for inner, ino in _names(index, now.ino):
                        if changes.entries.get((merged, inner)) != ino:
                            found.setdefault((merged, inner), None)
                continue
        found[parent, name] = before
        for merged in index.merged_inos(parent):
            if (merged, name) not in changes.entries:
                found[merged, name] = before
    return found


def other_inodes(index: Index, changes: Changes) -> set[int]:
    """The inodes of changed directories other than the one that stands for each."""
    return {merged for ino in changes.nodes for merged in index.merged_inos(ino)}


def _names(index: Index, directory: int) -> Iterator[tuple[bytes, int]]:
    after = 0
    while page := index.nodes.listed(directory, after, PAGE):
        after = page[-1][0]
        yield from ((name, node.ino) for _, name, node in page)
