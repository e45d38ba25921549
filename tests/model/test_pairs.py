"""Two devices do something at the same time: docs/merge-table.md says what everybody sees then, and is checked here.

Each row starts from the section's tree, known to both. A and B then act without hearing of each other, once with B's
stamps the later ones, once with A's. Both orders of delivery must give the tree in the row.
"""

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from syncfs.model.records import Birth, Owner
from syncfs.model.tree import State, Tree, tree_hash
from tests.model.replica import Replica

TABLE = Path(__file__).parents[2] / "docs" / "merge-table.md"
USUAL_MODES = {stat.S_IFREG: 0o644, stat.S_IFDIR: 0o755, stat.S_IFLNK: 0o777}
LEAD = 1000
"""By how much the later device's clock is ahead."""


EVERYTHING = "create f old; ln f g; mkdir d; create o other"
OPERATIONS = [
    ("create n a", "create n b"), ("write f a", "write f b"), ("append f -a", "append f -b"),
    ("truncate f", "truncate f"), ("mv f n", "mv f n"), ("mv f d/f", "mv f d/f"), ("rm f; rm g", "rm f; rm g"),
    ("chmod 700 f", "chmod 600 f"), ("chown 7 f", "chown 8 f"), ("setfattr a f", "setfattr b f"),
    ("ln f n", "ln f n"), ("rm f", "rm f"), ("mkdir n", "mkdir n"), ("rmdir d", "rmdir d"),
    ("ln -s ta n", "ln -s tb n"), ("save f a", "save f b"), ("rm f; mkdir f", "rm f; mkdir f"),
]  # fmt: skip
"""All kinds of changes, as A and B write them in the section that pairs each with each."""


@dataclass(frozen=True)
class Row:
    """One line of the table; `before` is what both know, then what each did before they met once."""

    before: tuple[str, ...]
    by_a: str
    by_b: str
    if_b_later: str
    if_a_later: str


def rows() -> Iterator[Row]:
    """The rows of the table."""
    before: tuple[str, ...] = ()
    for line in TABLE.read_text().splitlines():
        if line.startswith("Before: "):
            before = tuple(re.findall("`([^`]*)`", line))
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if before and line.startswith("| `"):
            by_a, by_b, if_b_later, if_a_later = cells
            yield Row(before, by_a, by_b, if_b_later, if_a_later or if_b_later)


def act(replica: Replica, commands: str) -> None:
    """Do what a cell says, in words of the shell."""
    for command in filter(None, commands.split("; ")):
        match [_real_name(replica, word) for word in command.split()]:
            case ["mkdir", path]:
                replica.mkdir(path)
            case ["create", path, content]:
                replica.create(path, content.encode())
            case ["write", path, content]:
                replica.write(path, content.encode())
            case ["append", path, content]:
                replica.append(path, content.encode())
            case ["truncate", path]:
                replica.write(path, b"")
            case ["save", path, content]:
                replica.replace(path, content.encode())
            case ["rm", "-r", path]:
                replica.remove_tree(path)
            case ["rm", path]:
                replica.unlink(path)
            case ["rmdir", path]:
                replica.rmdir(path)
            case ["mv", old, new]:
                replica.rename(old, new)
            case ["ln", "-s", target, path]:
                replica.symlink(target, path)
            case ["ln", old, new]:
                replica.link(old, new)
            case ["chmod", mode, path]:
                replica.chmod(path, int(mode, 8))
            case ["chown", uid, path]:
                replica.chown(path, int(uid))
            case ["setfattr", value, path]:
                replica.setxattr(path, value.encode())
            case _:
                raise ValueError(command)


def _real_name(replica: Replica, word: str) -> str:
    """The name of the conflict copy that the table calls `f!A`."""
    return next((path.decode() for path in replica.tree() if "!" in word and _short(path) == word), word)


def _short(path: bytes) -> str:
    return re.sub(r" \(conflict (\w) \d{4}-\d\d-\d\d \d{6}( \d+)?\)", r"!\1\2", path.decode())


def picture(state: State, tree: Tree) -> str:
    """A tree as the table writes it: `f=content`, `d/`, `s->target`, `f+g=content` for hard links, `f!A` for a
    conflict copy of A's, `:600` for an unusual mode.
    """
    names: dict[str, list[str]] = {}
    for path, shown in sorted(tree.items()):
        fields = dict(shown.fields)
        mode, birth, owner, xattrs = (fields.get(group) for group in ("mode", "birth", "owner", "xattrs"))
        if not isinstance(mode, int) or not isinstance(birth, Birth):
            continue  # the root
        end = f":{mode:o}" if mode != USUAL_MODES[shown.kind] else ""
        end += f"@{owner.uid}" if isinstance(owner, Owner) else ""
        end += f"#{xattrs[0][1].decode()}" if isinstance(xattrs, tuple) else ""
        if shown.kind == stat.S_IFDIR:
            if not end and any(one.startswith(path + b"/") for one in tree):
                continue
            end += "/"
        elif shown.kind == stat.S_IFLNK:
            end += "->" + birth.target.decode()
        elif shown.head is not None:
            end += "=" + state.versions[shown.node][shown.head].body.decode()
        same = f"{shown.node.hex()}{shown.head.hex() if shown.head else ''}{end}"
        names.setdefault(same + "\0" + end, []).append(_short(path))
    return " ".join(sorted("+".join(paths) + key.partition("\0")[2] for key, paths in names.items())) or "nothing"


def outcome(before: tuple[str, ...], by_a: str, by_b: str, later: str) -> str:
    """What everybody sees; both must agree."""
    alice, bob = Replica(1), Replica(2, clock=1_500_000_000)
    common, first, second = (*before, "", "")[:3]
    act(alice, common)
    bob.receive(alice.entries())
    act(alice, first)
    act(bob, second)
    alice.receive(bob.entries())
    bob.receive(alice.entries())
    known, bob_known = len(alice.feed), len(bob.feed)
    (bob if later == "B" else alice).lamport += LEAD
    act(alice, by_a)
    act(bob, by_b)
    from_alice, from_bob = alice.entries()[known:], bob.entries()[bob_known:]
    alice.receive(from_bob)
    bob.receive(reversed(from_alice + from_alice))
    assert tree_hash(alice.tree()) == tree_hash(bob.tree())
    return picture(alice.state, alice.tree())


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: f"{row.before[0]} : {row.by_a} | {row.by_b}")
def test_pair(row: Row) -> None:
    """Two devices see what the table says, whoever is later."""
    assert outcome(row.before, row.by_a, row.by_b, "B") == row.if_b_later
    assert outcome(row.before, row.by_a, row.by_b, "A") == row.if_a_later


def test_the_table_is_read() -> None:
    """An unreadable table must not pass for a good one."""
    assert len(list(rows())) > 400


def test_everything_is_paired_with_everything() -> None:
    pairs = [(row.by_a, row.by_b) for row in rows() if row.before == (EVERYTHING,)]
    assert pairs == [(one, other) for number, (one, _) in enumerate(OPERATIONS) for _, other in OPERATIONS[number:]]
