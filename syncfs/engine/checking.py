"""`check`: are the index's tables true to each other, and is every chunk what its address says."""

import time
from pathlib import Path

import trio

from syncfs.engine.feeds.feed import OWN_FEED_SENTENCE
from syncfs.engine.opening import open_share
from syncfs.engine.rebuilding import rebuild_index
from syncfs.engine.setup import open_member
from syncfs.engine.share import Share
from syncfs.model.errors import BadChunkError, SetupError, SyncfsError
from syncfs.model.ids import Address
from syncfs.model.places import Place
from syncfs.model.reports import CheckReport, Problem
from syncfs.store.contract import verify

BATCH = 200

_QUERIES: tuple[tuple[str, str, str], ...] = (
    (
        "entry",
        "SELECT e.cookie FROM entries e LEFT JOIN nodes n ON n.ino = e.ino WHERE n.ino IS NULL OR n.kind = 0",
        "a name shows a node that does not exist",
    ),
    (
        "entry",
        "SELECT e.cookie FROM entries e LEFT JOIN links l ON l.id = e.link WHERE l.id IS NULL",
        "a name is shown that no link gives",
    ),
    (
        "node",
        "SELECT n.ino FROM nodes n WHERE n.kind NOT IN (0, 16384) AND n.nlink != (SELECT count(*) FROM entries e "
        "JOIN nodes p ON p.ino = e.parent WHERE e.ino = n.ino AND (p.nlink > 0 OR p.ino = 1))",
        "a node counts its names wrongly",
    ),
    (
        "node",
        "SELECT n.ino FROM nodes n WHERE n.head IS NOT NULL AND NOT EXISTS "
        "(SELECT 1 FROM versions v WHERE v.stamp = n.head)",
        "a file shows a version that is not there",
    ),
    (
        "feed",
        "SELECT hex(device) FROM feeds WHERE applied > sequence",
        "a feed is applied beyond its own head",
    ),
)


def check_share(home: Path, name: str, *, repair: bool, rebuild: bool) -> CheckReport:
    """Check a share that does not run. Raises UnknownShareError, SetupError, DamageError, NewerFormatError."""
    if rebuild:
        rebuild_index(open_member(home, name))
    return trio.run(check_closed, home, name, repair, strict_exception_groups=True)


async def check_closed(home: Path, name: str, repair: bool) -> CheckReport:
    """Open the share offline and check it."""
    async with open_share(home, name) as share:
        return await check_open_share(share, repair)


async def check_open_share(share: Share, repair: bool) -> CheckReport:
    """Verify the invariants of index and store; `repair` puts bad chunks aside, so that they are fetched again."""
    began = time.monotonic()
    share.commit()
    database = share.index.database
    problems: list[Problem] = []
    integrity = database.read("PRAGMA quick_check(1)")[0]
    if integrity != "ok":
        problems.append(Problem("index", str(database.path), f"SQLite reports: {integrity}"))
    if share.own_feed_lost:
        problems.append(Problem("feed", share.member.identity.id.hex(), OWN_FEED_SENTENCE))
    if share.healer.failure:
        problems.append(Problem("store", str(share.store.directory), share.healer.failure))
    gone = _store_gone(share)
    if gone:
        problems.append(Problem("store", str(share.store.directory), gone))
    for kind, query, message in _QUERIES:
        problems += [Problem(kind, str(subject), message) for (subject,) in database.rows(query)]
    after, chunks, size = b"", 0, 0
    while not gone:  # else what is still open could be read, and every other chunk would seem to be bad
        rows = database.rows(
            "SELECT pack, offset, size, address FROM chunks WHERE address > ? ORDER BY address LIMIT ?", (after, BATCH)
        )
        if not rows:
            break
        places = [Place(*row) for row in rows]
        after = places[-1].address
        chunks += len(places)
        size += sum(place.size for place in places)
        bad = await trio.to_thread.run_sync(_bad_ones, share, places)
        if gone := _store_gone(share):  # meanwhile
            problems.append(Problem("store", str(share.store.directory), gone))
            break
        for place, trouble in bad:
            if share.store.locate(place.address) != place:
                continue
            if repair:
                share.store.quarantine(place.address)
                share.chunks.lost(place.address)
            problems.append(Problem("chunk", place.address.hex(), trouble, repaired=repair))
    counts = database.read("SELECT (SELECT count(*) FROM nodes), (SELECT count(*) FROM versions)")
    return CheckReport(
        share.member.keys.share_id, share.member.name, counts[0], counts[1], chunks, size, problems,
        time.monotonic() - began,
    )  # fmt: skip


def _store_gone(share: Share) -> str:
    try:
        share.store.require_folder()
    except SetupError as error:
        return str(error)
    return ""


def _bad_ones(share: Share, places: list[Place]) -> list[tuple[Place, str]]:
    found = []
    for place in places:
        try:
            verify(Address(place.address), share.store.read(place))
        except BadChunkError:
            found.append((place, "a chunk is not what its address says"))
        except SyncfsError as error:
            found.append((place, str(error)))
    return found
