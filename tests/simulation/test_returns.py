"""Deletions are told for a time; who comes back later is told, and nothing comes back or goes away without a word."""

import pytest
import trio

from syncfs.engine.service import RunningShare
from syncfs.engine.tree.posix import AttributeChange, RenameFlags
from syncfs.model.records import LinkRecord, Record, SettingRecord
from syncfs.wire.segment import decode_segment
from tests.simulation.stage import Stage, play

HERE, THERE, AWAY, LATE, READER = range(5)
FILES = ("edited", "gone", "gone by its maker", "kept", "renamed", "touched", "folder/inner", "folder/other/deep")


def told(stage: Stage, number: int) -> list[Record]:
    """All records that a node passes on."""
    share = stage.share(number)
    read, feeds = share.member.keys.read, share.index.feeds
    assert read is not None
    return [
        record
        for device in feeds.applied()
        for address, *_ in feeds.segments_of(device)
        for record in decode_segment(read, feeds.segment(address) or b"")[1]
        if not isinstance(record, SettingRecord)
    ]


async def before(stage: Stage, days: float = 200) -> None:
    """All know the files; then AWAY is away, all but one are deleted, and time passes."""
    await stage.begin(HERE, THERE, AWAY)
    stage.mkdir(HERE, "folder")
    stage.mkdir(HERE, "folder/other")
    for name in FILES:
        await stage.write(HERE, name, name.encode() * 1000)
    await stage.level(HERE, THERE, AWAY)
    await stage.nodes[AWAY].stop()
    for name in FILES:
        if name != "kept":
            stage.remove(HERE if name == "gone by its maker" else THERE, name)
    stage.remove(THERE, "folder/other")
    stage.remove(THERE, "folder")
    await stage.level(HERE, THERE)
    await stage.let_pass(days)
    await stage.condense(HERE, THERE)
    assert await stage.names(HERE) == ["kept"]


def test_a_new_device_hears_nothing_of_what_was_deleted_long_ago() -> None:
    async def story(stage: Stage) -> None:
        await before(stage)
        nodes = {record.node for record in told(stage, HERE) if not isinstance(record, SettingRecord)}
        assert len(nodes) == 2  # the root's times, and the file that was kept
        await stage.begin(LATE)
        await stage.level(HERE, THERE, LATE)
        await stage.same(HERE, THERE, LATE)
        assert await stage.names(LATE) == ["kept"]
        assert not any(isinstance(record, LinkRecord) and record.deleted for record in told(stage, LATE))

    play(4, story)


def test_deletions_are_told_for_some_months() -> None:
    async def story(stage: Stage) -> None:
        await before(stage, days=100)
        assert any(isinstance(record, LinkRecord) and record.deleted for record in told(stage, HERE))
        await stage.begin(AWAY)
        await stage.level(HERE, THERE, AWAY)
        await stage.same(HERE, THERE, AWAY)
        returner = stage.share(AWAY).returner
        assert returner is not None and returner.reasons == []

    play(3, story)


def test_what_was_not_touched_goes_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async def story(stage: Stage) -> None:
        await before(stage)
        await stage.begin(AWAY)
        await stage.level(HERE, THERE, AWAY)
        assert await stage.names(AWAY) == ["kept"]
        await stage.same(HERE, THERE, AWAY)
        for _ in range(2):
            returner = stage.share(AWAY).returner
            assert returner is not None
            assert "9 such files and directories were removed here, and 0 that were changed" in returner.reasons[0]
            assert returner.reasons[0] in RunningShare(stage.share(AWAY), None).status().reasons
            await stage.nodes[AWAY].stop()
            await stage.begin(AWAY)
        for number in (HERE, THERE):
            returner = stage.share(number).returner
            assert returner is not None and returner.reasons == []
        said = [record.getMessage() for record in caplog.records]
        removed = sorted(line.partition(": ")[2] for line in said if line.startswith("removed, as its deletion was"))
        assert removed == sorted({*FILES, "folder", "folder/other"} - {"kept"})
        await stage.let_pass(31)
        returner = stage.share(AWAY).returner
        assert returner is not None and returner.reasons == []

    play(3, story)


def test_what_was_changed_meanwhile_is_kept_and_comes_back_for_all() -> None:
    async def story(stage: Stage) -> None:
        await before(stage)
        stage.network.partition(["n3"])
        await stage.begin(AWAY)
        volume = stage.share(AWAY).volume
        await stage.write(AWAY, "edited", b"by who was away")
        await volume.rename(1, b"renamed", 1, b"new name", RenameFlags.NONE)
        await stage.write(AWAY, "folder/other/new", b"in a directory that was deleted")
        await volume.setattr(volume.lookup(1, b"touched").ino, AttributeChange(mode=0o600), None)
        await stage.begin(LATE)
        await stage.level(HERE, THERE, LATE)
        stage.network.heal()
        everybody = (HERE, THERE, AWAY, LATE)
        await stage.level(*everybody)
        await trio.sleep(10)
        await stage.level(*everybody)
        names = ["edited", "folder", "folder/other", "folder/other/new", "kept", "new name"]
        for number in everybody:
            assert await stage.names(number) == names, number
        await stage.same(*everybody)
        returner = stage.share(AWAY).returner
        assert returner is not None and "4 that were changed meanwhile were kept" in returner.reasons[0]

        for number in everybody:
            await stage.nodes[number].stop()
        await stage.begin(*everybody)
        await stage.level(*everybody)
        await stage.let_pass(400)
        await stage.condense(*everybody)
        await stage.same(*everybody)
        assert await stage.names(LATE) == names

    play(4, story)
