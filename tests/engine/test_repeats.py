"""What fails again and again in the background is logged once in a while, with a traceback only where it is a bug."""

import logging
from pathlib import Path

import pytest

from syncfs.engine.writing.cutting import Cutter
from syncfs.engine.writing.repeats import MAX_LINES, REPEAT_SECONDS, Repeats
from syncfs.model.errors import SetupError
from tests.engine.nodes import Nodes, share_of, tell

FULL = SetupError("the disk is full")


def test_a_line_is_said_again_after_a_minute_or_a_change(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    repeats = Repeats(logging.getLogger("syncfs.test"), lambda: now[0])
    for _ in range(1501):
        repeats.failed("no room", FULL)
    repeats.failed("no disk", FULL)
    now[0] = REPEAT_SECONDS
    for _ in range(3):
        repeats.failed("no room", FULL)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "no room",
        "no disk",
        "no room (1,500 times more since it was last said)",
    ]


def test_a_traceback_is_for_what_nobody_raised_on_purpose(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    repeats = Repeats(logging.getLogger("syncfs.test"), lambda: 0.0)
    repeats.failed("no room", FULL)
    repeats.failed("a bug", ZeroDivisionError())
    traced = [(record.levelno, record.getMessage()) for record in caplog.records if record.exc_info]
    assert traced == [(logging.DEBUG, "this was raised at:"), (logging.ERROR, "a bug")]


def test_lines_that_never_come_again_are_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    repeats = Repeats(logging.getLogger("syncfs.test"), lambda: 0.0)
    for number in range(3 * MAX_LINES):
        repeats.failed(f"no room for {number}", FULL)
        repeats.failed("always", FULL)
    assert len(repeats._said) == MAX_LINES
    assert len([record for record in caplog.records if record.getMessage() == "always"]) == 1


def test_a_share_does_not_fill_its_log_with_failures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(nodes: Nodes) -> None:
        share = share_of(await nodes.add())
        cutter: Cutter = share.files.settler.cutter
        for _ in range(200):
            share._report(FULL)
            cutter.report(FULL)
        assert share.problem == "the disk is full"

    tell(tmp_path, story)
    said = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert sorted(record.getMessage() for record in said) == [
        "the disk is full",
        "written data could not be stored yet: the disk is full",
    ]
    assert not any(record.exc_info for record in said)
