"""What applying records changed for somebody who looks at the tree."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Changes:
    """All that looks different than before, by inode numbers.

    `nodes` have other attributes than before or are new, `contents` show another version; `entries` tells by
    (parent, name) which node was seen there before, None where there was none. Of directories that are shown as one,
    `parent` is that which stood for them; `regrouped` are pairs of which each shows the names of the other now and did
    not before, or the other way round.
    """

    nodes: set[int] = field(default_factory=set)
    contents: set[int] = field(default_factory=set)
    entries: dict[tuple[int, bytes], int | None] = field(default_factory=dict)
    regrouped: set[tuple[int, int]] = field(default_factory=set)

    def entry(self, parent: int, name: bytes, before: int | None) -> None:
        """Note that a name shows something else than the node `before`."""
        self.entries[parent, name] = self.entries.get((parent, name)) or before
