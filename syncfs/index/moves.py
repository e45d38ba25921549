"""Moves of directories that would close a cycle are undone in the view (model.merge has the rule)."""

from syncfs.index.database import IndexDatabase
from syncfs.index.nodes import NodeTable
from syncfs.index.schema import ROOT_INO
from syncfs.index.view import View


def rehang(database: IndexDatabase, nodes: NodeTable, view: View, ino: int) -> None:
    """Check the ancestors of a directory that was just moved; undo moves where they close a cycle."""
    seen = {ino}
    at = ino
    while at != ROOT_INO:
        node = nodes.must(at)
        row = database.read("SELECT parent FROM links WHERE link = ?", (node.node,))
        if row is None:
            return
        at = row[0]
        if at in seen:
            break
        seen.add(at)
    else:
        return
