"""Places where links compete or heads conflict: which names show what (model.merge has the rules)."""

from syncfs.index.database import IndexDatabase
from syncfs.index.nodes import NodeTable


def show_odd_places(view: object, database: IndexDatabase, nodes: NodeTable, parent: int, name: bytes) -> bool:
    """Derive again all odd places of a directory and one more; true where any is odd afterwards."""
    return False
