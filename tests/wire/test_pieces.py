"""Pieces and lanes: order, overtaking, credit, and every way to break the rules of assembly."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncfs.model.errors import ForeignError
from syncfs.wire.pieces import (
    COST,
    KIB,
    MAX_ATTACHED,
    MAX_PLAIN,
    MAX_REQUEST,
    MIB,
    MIN_FRAME,
    WINDOW,
    Inbox,
    Kind,
    Lane,
    Outbox,
    Parcel,
)


def drain(outbox: Outbox, limit: int = MAX_PLAIN) -> list[bytes]:
    """All frames that can be sent now."""
    frames = []
    while pieces := outbox.next_frame(limit):
        frames.append(b"".join(pieces))
        assert len(frames[-1]) <= limit
    return frames


def read(inbox: Inbox, frames: list[bytes]) -> list[Parcel]:
    return [parcel for frame in frames for parcel in inbox.receive_frame(frame)]


def piece(flags: int, data: bytes) -> bytes:
    return struct.pack(">I", flags << 24 | len(data)) + data


def prelude(kind: int, id: int, head: int, *sizes: int) -> bytes:
    return struct.pack(f">BIIH{len(sizes)}I", kind, id, head, len(sizes), *sizes)


FIRST, LAST, URGENT = 4, 8, 1

letters = st.tuples(
    st.sampled_from([Lane.URGENT, Lane.NORMAL, Lane.BULK]),
    st.binary(min_size=1, max_size=200),
    st.lists(st.one_of(st.binary(max_size=50), st.integers(0, 70_000).map(bytes)), max_size=5),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(letters, max_size=12), st.integers(MIN_FRAME, MAX_PLAIN))
def test_replies_arrive_whole_and_in_the_order_of_their_lane(wanted, limit):
    outbox, inbox = Outbox(), Inbox()
    for number, (lane, head, attachments) in enumerate(wanted):
        outbox.put(lane, Kind.REPLY, number, head, attachments)
    got = read(inbox, drain(outbox, limit))
    assert (outbox.queued_asks, outbox.queued_replies) == (0, 0)
    for lane in Lane:
        assert [(p.id, p.head, p.attachments) for p in got if p.lane is lane] == [
            (number, head, attachments) for number, (where, head, attachments) in enumerate(wanted) if where is lane
        ]
    held = sum(len(a.obj) for p in got for a in p.attachments if isinstance(a, memoryview))
    assert held <= 2 * sum(len(attachment) for parcel in got for attachment in parcel.attachments)


def test_urgent_overtakes_bulk_at_the_next_frame():
    outbox, inbox = Outbox(), Inbox()
    outbox.put(Lane.BULK, Kind.REPLY, 1, b"bulk", [bytes(3 * MIB)])
    first = b"".join(outbox.next_frame())
    outbox.put(Lane.URGENT, Kind.REPLY, 2, b"urgent", [bytes(10)])
    second = b"".join(outbox.next_frame())
    assert [parcel.id for parcel in read(inbox, [first, second])] == [2]
    assert [parcel.id for parcel in read(inbox, drain(outbox))] == [1]


def test_many_small_messages_share_a_frame():
    outbox = Outbox()
    for number in range(1, 501):
        outbox.put(Lane.NORMAL, Kind.REPLY, number, b"small")
    assert len(drain(outbox)) == 1


def test_requests_wait_for_credit_and_replies_pass_them():
    outbox, inbox = Outbox(), Inbox()
    for number in range(1, 6):
        outbox.put(Lane.NORMAL, Kind.REQUEST, number, bytes(MIB - COST - 11))
    outbox.put(Lane.NORMAL, Kind.REPLY, 9, b"reply")
    sent = read(inbox, drain(outbox))
    assert [parcel.id for parcel in sent] == [1, 2, 3, 4, 9]
    assert sum(parcel.cost for parcel in sent) == WINDOW
    inbox.finished(Lane.NORMAL, sent[0].cost)
    ((lane, amount),) = inbox.owed()
    outbox.add_credit(lane, amount)
    assert [parcel.id for parcel in read(inbox, drain(outbox))] == [5]


def test_another_lane_has_its_own_credit():
    outbox, inbox = Outbox(), Inbox()
    for number in range(1, 6):
        outbox.put(Lane.BULK, Kind.REQUEST, number, bytes(MIB - COST - 11))
    outbox.put(Lane.URGENT, Kind.REQUEST, 6, b"now")
    assert [parcel.id for parcel in read(inbox, drain(outbox))] == [6, 1, 2, 3, 4]


def test_small_credit_is_given_back_together():
    inbox = Inbox()
    inbox.finished(Lane.URGENT, WINDOW // 4 - 1)
    assert inbox.owed() == []
    inbox.finished(Lane.URGENT, 1)
    assert inbox.owed() == [(Lane.URGENT, WINDOW // 4)]
    assert inbox.owed() == []


def test_more_requests_than_credit_are_refused():
    inbox = Inbox()
    body = prelude(Kind.REQUEST, 1, MIB - 20) + bytes(MIB - 20)
    frames = []
    for start in range(0, len(body), 200_000):
        flags = (0 if start else FIRST) | (LAST if start + 200_000 >= len(body) else 0)
        frames.append(piece(URGENT | flags, body[start : start + 200_000]))
    for _ in range(3):
        assert len(read(inbox, frames)) == 1
    with pytest.raises(ForeignError, match="more than it had credit for"):
        read(inbox, frames + frames)


def test_credit_that_was_never_taken_is_refused():
    with pytest.raises(ForeignError, match="more credit"):
        Outbox().add_credit(Lane.URGENT, 1)


@pytest.mark.parametrize(
    ("kind", "size"), [(Kind.REQUEST, MAX_REQUEST), (Kind.POST, MAX_REQUEST), (Kind.REPLY, 2 * MIB)]
)
def test_we_do_not_send_what_would_be_refused(kind, size):
    with pytest.raises(ValueError, match="too long"):
        Outbox().put(Lane.NORMAL, kind, 1, bytes(size))


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (b"", "empty frame"),
        (b"\x0d\x00", "cut short"),
        (piece(URGENT | FIRST | LAST, b"")[:4], "impossible header"),
        (piece(0x10 | FIRST | LAST, prelude(2, 1, 1) + b"h"), "impossible header"),
        (piece(URGENT | FIRST | LAST, prelude(2, 1, 1) + b"h")[:-1], "impossible header"),
        (piece(URGENT | LAST, b"no first piece"), "mixed the pieces"),
        (piece(URGENT | FIRST | LAST, b"tiny"), "whole prelude"),
        (piece(URGENT | FIRST | LAST, prelude(3, 1, 1) + b"h"), "impossible prelude"),
        (piece(URGENT | FIRST | LAST, prelude(2, 1, 1, 5)[:-1] + b""), "impossible prelude"),
        (piece(URGENT | FIRST | LAST, prelude(2, 1, 0)), "too long for its kind"),
        (piece(URGENT | FIRST, prelude(1, 1, MIB + 1) + b"h"), "too long for its kind"),
        (piece(URGENT | FIRST, prelude(2, 1, 1, MAX_ATTACHED, MAX_ATTACHED) + b"h"), "too long for its kind"),
        (piece(URGENT | FIRST, prelude(1, 1, 1, 5) + b"h"), "too long for its kind"),
        (piece(FIRST, prelude(0, 0, 17 * KIB) + b"h"), "too long for its kind"),
        (piece(FIRST, prelude(0, 0, 2) + b"h"), "cut a control message"),
        (piece(URGENT | FIRST | LAST, prelude(2, 1, 2) + b"h"), "not as long as it said"),
        (piece(URGENT | FIRST | LAST, prelude(2, 1, 2) + b"hhh"), "not as long as it said"),
        (piece(URGENT | FIRST, prelude(2, 1, 2) + b"hh"), "not as long as it said"),
        (piece(URGENT | FIRST, prelude(2, 1, 2) + b"h") * 2, "mixed the pieces"),
    ],
)
def test_a_frame_that_breaks_the_rules_is_refused(frame, complaint):
    with pytest.raises(ForeignError, match=complaint):
        read(Inbox(), [frame])


def test_very_many_tiny_pieces_take_no_more_memory_than_the_message():
    inbox = Inbox()
    frame = piece(URGENT | FIRST, prelude(2, 1, 1, 100_000) + b"h") + b"".join(
        piece(URGENT, b"x") for _ in range(50_000)
    )
    assert read(inbox, [frame]) == []
    half = inbox._half[Lane.URGENT]
    assert half is not None
    assert len(half.parts) == 1


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_any_frames_give_messages_or_a_foreign_error(frames):
    with suppress(ForeignError):
        read(Inbox(), frames)


def test_chunks_lie_in_frames_of_their_own_and_are_not_copied():
    outbox, inbox = Outbox(), Inbox()
    for number in range(4):
        outbox.put(Lane.NORMAL, Kind.REPLY, number, b"chunk", [bytes([number]) * (MIB + 16)])
    frames = drain(outbox)
    assert len(frames) == 4
    got = read(inbox, frames)
    assert [parcel.attachments for parcel in got] == [[bytes([number]) * (MIB + 16)] for number in range(4)]
    assert all(isinstance(parcel.attachments[0], memoryview) for parcel in got)
