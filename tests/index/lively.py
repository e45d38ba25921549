"""Records that stir a handful of nodes: dense in moves, deletions, merges, conflicts and late arrivals."""

import stat

from hypothesis import strategies as st

from syncfs.model.ids import ROOT_NODE, NodeId, Stamp, make_stamp
from syncfs.model.records import INLINE, Birth, LinkRecord, NodeRecord, VersionRecord
from syncfs.model.versions import own_node
from tests.model.replica import NAMES, Entry

FOLDERS = [NodeId(bytes([0x40 + number]) * 16) for number in range(4)]
FILES = [NodeId(bytes([0x80 + number]) * 16) for number in range(3)]
SECOND_LINKS = [bytes([0xC0 + number]) * 16 for number in range(3)]
SOME_NAMES = [b"f", b"g", b"f (conflict A 1970-01-01 000000)", b"f (conflict B 1970-01-01 000000)"]
DEVICES = sorted(NAMES)[:2]

Stir = tuple[int, int, int, int, int]
"""What to do (see `_record`), and four choices."""
STIRS = st.lists(
    st.tuples(st.integers(0, 14), st.integers(0, 3), st.integers(0, 4), st.integers(0, 3), st.integers(0, 15)),
    min_size=30,
    max_size=60,
)


def lively_entries(stirs: list[Stir], liars: bool = False) -> list[Entry]:
    """The records, each with a lamport of its own; a node is born where it is first spoken of.

    With `liars`, some are born again as something else, which no honest device says.
    """
    entries: list[Entry] = []
    versions: dict[NodeId, list[Stamp]] = {}
    born: set[bytes] = set()
    for what, which, where, name, more in stirs:
        device, lamport = DEVICES[more % 2], len(entries) + 2
        record = _record(lamport, make_stamp(lamport, device), versions, what, which, where, name, more)
        if isinstance(record, NodeRecord) and record.birth is not None and not liars and record.node in born:
            record = NodeRecord(lamport, 0, record.node, mode=0o700)
        if record.node not in born and record.node in (*FOLDERS, *FILES, _new_node(lamport)):
            born.add(record.node)
            birth = Birth(stat.S_IFDIR if record.node in FOLDERS else stat.S_IFREG)
            entries.append((device, NodeRecord(lamport - 1, 0, record.node, birth, 0o700)))
        entries.append((device, record))
    return entries


def _new_node(lamport: int) -> NodeId:
    return NodeId(lamport.to_bytes(16, "big"))


def _record(
    lamport: int, stamp: Stamp, versions: dict[NodeId, list[Stamp]], what: int, which: int, where: int, name: int,
    more: int,
) -> NodeRecord | LinkRecord | VersionRecord:  # fmt: skip
    folder, file = FOLDERS[which], FILES[which % len(FILES)]
    parent = (ROOT_NODE, *FOLDERS)[where]
    known = versions.setdefault(file, [])
    former = (ROOT_NODE, *FOLDERS)[more % 5] if more > 5 else b""
    match what:
        case 0 | 1 | 2:
            return LinkRecord(lamport, 0, folder, folder, parent, SOME_NAMES[name % 2], more % 4 == 0, (), former)
        case 3:
            return LinkRecord(lamport, 0, folder, folder, parent, SOME_NAMES[name], True)
        case 4 | 5:
            return LinkRecord(lamport, 0, file, file, parent, SOME_NAMES[name])
        case 6:
            return LinkRecord(lamport, 0, SECOND_LINKS[which % 3], file, parent, SOME_NAMES[name], more % 3 == 0)
        case 7 | 8:
            link = file if what == 7 else SECOND_LINKS[which % 3]
            seen = tuple(known[-1 - (more % 3) :])
            return LinkRecord(lamport, 0, link, file, parent, SOME_NAMES[name], True, seen)
        case 9 | 10 | 11 | 12:
            parents = tuple(known[more % 3 - 3 :][: more % 3])
            if more == 15 and known:
                return _own_record(lamport, known[-1], where, name)
            known.append(stamp)
            return VersionRecord(lamport, 0, file, parents, 1, 0, INLINE, b"xyz"[more % 3 : more % 3 + 1])
        case 13:
            return LinkRecord(lamport, 0, _new_node(lamport), _new_node(lamport), parent, SOME_NAMES[name])
        case _:
            if more == 3:
                birth = Birth(stat.S_IFREG if where % 2 else stat.S_IFDIR)
                return NodeRecord(lamport, 0, (folder, file)[name % 2], birth)
            if more == 7 and known:
                return LinkRecord(lamport, 0, own_node(known[-1]), own_node(known[-1]), parent, SOME_NAMES[name])
            return NodeRecord(lamport, 0, (folder, file)[more % 2], mode=0o600 + more)


def _own_record(lamport: int, head: Stamp, where: int, name: int) -> NodeRecord | VersionRecord:
    """Something about the node that a conflict copy may become."""
    node = own_node(head)
    if where % 2:
        return NodeRecord(lamport, 0, node, Birth(stat.S_IFDIR if where == 3 else stat.S_IFREG), 0o640)
    return VersionRecord(lamport, 0, node, (head,), 1, 0, INLINE, b"x" if name % 2 else b"y")
