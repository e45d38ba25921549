"""A peer that breaks the rules: our side closes with one clear reason, and tells it where that is possible."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncfs.model.errors import ForeignError, RefusedError
from syncfs.wire import messages as m
from syncfs.wire.pieces import MAX_PLAIN, Kind, Lane
from syncfs.wire.session import Closed, Event, Session
from syncfs.wire.states import State

from .people import opened, pair

A = bytes(32)


def only_closed(events: list[Event]) -> Closed:
    """The one event, which must be an end with an error of the peer's."""
    (event,) = events
    assert isinstance(event, Closed)
    assert isinstance(event.error, ForeignError)
    assert event.reason == str(event.error)
    assert event.reason.isprintable()
    return event


def hears(session: Session, evil: Session, *pieces: tuple[Lane, Kind, int, m.Message]) -> list[Event]:
    """What a session makes of messages that an honest peer would not send so."""
    for lane, kind, number, message in pieces:
        evil._outbox.put(lane, kind, number, m.encode_message(message))
    return session.receive(b"".join(evil.data_to_send()))


@given(st.binary(min_size=48, max_size=400))
def test_garbage_gets_silence(garbage):
    session = pair().right
    only_closed(session.receive(garbage))
    assert session.data_to_send() == []


@given(st.binary(min_size=96, max_size=400))
def test_garbage_from_whom_we_called(garbage):
    session = pair().left
    session.data_to_send()
    only_closed(session.receive(garbage))
    assert session.data_to_send() == []


@pytest.mark.parametrize(
    "greeting", [b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n" * 3, b"SSH-2.0-OpenSSH_9.2p1\r\n" * 5]
)
def test_another_protocol(greeting):
    only_closed(pair().right.receive(greeting))


def test_an_oversized_frame_is_refused_by_its_length_alone():
    two = opened()
    event = only_closed(two.left.receive((MAX_PLAIN + 17).to_bytes(4, "big")))
    assert f"{MAX_PLAIN + 17} bytes" in event.reason
    two.exchange()
    (heard,) = two.right_events
    assert isinstance(heard, Closed)
    assert "more or less than a frame can have" in heard.reason


@pytest.mark.parametrize("size", [0, 16, 2**32 - 1])
def test_an_impossible_frame(size):
    only_closed(opened().left.receive(size.to_bytes(4, "big")))


@pytest.mark.parametrize("position", [0, 3, 4, 30, -1])
def test_a_frame_with_a_flipped_bit(position):
    two = opened()
    two.right.post(m.Have({}), Lane.NORMAL)
    frame = bytearray(b"".join(two.right.data_to_send()))
    frame[position] ^= 1
    events = two.left.receive(frame + bytes(300_000))
    only_closed(events)


def test_a_frame_that_is_repeated():
    two = opened()
    two.right.post(m.Have({}), Lane.NORMAL)
    frame = bytes(two.right.data_to_send()[0])
    assert not any(isinstance(event, Closed) for event in two.left.receive(frame))
    assert "damaged or forged" in only_closed(two.left.receive(frame)).reason


def test_a_frame_sent_back_to_its_sender():
    two = opened()
    two.right.post(m.Have({}), Lane.NORMAL)
    only_closed(two.right.receive(bytes(two.right.data_to_send()[0])))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_handshake_message_of_another_handshake(which):
    old, new = pair(seed="old"), pair(seed="new")
    recorded = [old.left.data_to_send()[0]]
    old.right.receive(recorded[0])
    recorded.append(old.right.data_to_send()[0])
    old.left.receive(recorded[1])
    recorded.append(old.left.data_to_send()[0])
    first = new.left.data_to_send()[0]
    if which == 0:
        # A first message can be played again; it is of no use without the keys behind it (and see wire.replay).
        new.right.receive(recorded[0])
        new.right.data_to_send()
        only_closed(new.right.receive(recorded[2]))
    elif which == 1:
        only_closed(new.left.receive(recorded[1]))
    else:
        new.right.receive(first)
        new.right.data_to_send()
        only_closed(new.right.receive(recorded[2]))


@pytest.mark.parametrize(
    ("piece", "complaint"),
    [
        ((Lane.NORMAL, Kind.REPLY, 7, m.Done()), "not open"),
        ((Lane.NORMAL, Kind.POST, 0, m.Ping(1)), "lane"),
        ((Lane.CONTROL, Kind.POST, 0, m.Get([A])), "lane"),
        ((Lane.CONTROL, Kind.REQUEST, 3, m.Ping(1)), "as a request"),
        ((Lane.CONTROL, Kind.POST, 0, m.Hello([1], A, bytes(64), "writer", b"")), "out of turn"),
        ((Lane.NORMAL, Kind.POST, 0, m.Done()), "nobody had asked"),
        ((Lane.NORMAL, Kind.REQUEST, 3, m.Chunks([])), "nobody had asked"),
        ((Lane.NORMAL, Kind.REQUEST, 0, m.Get([A])), "number of a request"),
        ((Lane.NORMAL, Kind.POST, 3, m.Get([A])), "number of a request"),
        ((Lane.CONTROL, Kind.POST, 0, m.Credit(1, 1)), "credit"),
    ],
)
def test_a_message_where_it_does_not_belong(piece, complaint):
    two = opened()
    assert complaint in only_closed(hears(two.left, two.right, piece)).reason
    two.exchange()
    (heard,) = two.right_events
    assert isinstance(heard, Closed)
    assert complaint in heard.reason


def test_a_second_answer_to_one_request():
    two = opened()
    number = two.left.request(m.Get([A]), Lane.NORMAL)
    twice = (Lane.NORMAL, Kind.REPLY, number, m.Refused("no"))
    *_, last = hears(two.left, two.right, twice, twice)
    assert isinstance(last, Closed)
    assert "not open" in last.reason


def test_a_request_number_used_twice():
    two = opened()
    twice = (Lane.NORMAL, Kind.REQUEST, 5, m.Get([A]))
    *_, last = hears(two.left, two.right, twice, twice)
    assert isinstance(last, Closed)
    assert "number of a request" in last.reason


def test_attachments_that_do_not_fit_the_answer():
    two = opened()
    number = two.left.request(m.Get([A]), Lane.NORMAL)
    two.right._outbox.put(Lane.NORMAL, Kind.REPLY, number, m.encode_message(m.Chunks([A, A])), [b"one"])
    assert "do not fit" in only_closed(two.left.receive(b"".join(two.right.data_to_send()))).reason


def test_an_unknown_message():
    two = opened()
    two.right._outbox.put(Lane.NORMAL, Kind.REQUEST, 5, b"\x91\x63")
    assert "cannot be read" in only_closed(two.left.receive(b"".join(two.right.data_to_send()))).reason


def test_a_message_before_the_hello():
    two = pair()
    two.right.receive(two.left.data_to_send()[0])
    two.left.receive(two.right.data_to_send()[0])
    two.left._outbox.clear()
    two.left._outbox.put(Lane.NORMAL, Kind.REQUEST, 1, m.encode_message(m.Get([A])))
    assert "out of turn" in only_closed(two.right.receive(b"".join(two.left.data_to_send()))).reason


def test_a_flood_of_pings_gets_one_answer():
    two = opened()
    for token in range(1000):
        two.right._outbox.put(Lane.CONTROL, Kind.POST, 0, m.encode_message(m.Ping(token)))
    two.left.receive(b"".join(two.right.data_to_send()))
    assert sum(len(data) for data in two.left.data_to_send()) < 100


def test_after_the_end_nothing_is_read():
    two = opened()
    two.left.receive(bytes(4))
    assert two.left.state is State.CLOSED
    assert two.left.receive(bytes(100)) == []
    assert two.left.receive_eof() == []


def test_a_goodbye_instead_of_a_hello_is_a_refusal():
    two = pair()
    two.right.receive(two.left.data_to_send()[0])
    two.left.receive(two.right.data_to_send()[0])
    two.right.receive(b"".join(two.left.data_to_send()))
    two.right._outbox.clear()
    two.right._outbox.put(Lane.CONTROL, Kind.POST, 0, m.encode_message(m.Goodbye("not you")))
    (event,) = two.left.receive(b"".join(two.right.data_to_send()))
    assert isinstance(event, Closed)
    assert isinstance(event.error, RefusedError)
    assert "not you" in event.reason


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=3))
def test_any_plaintext_from_a_member_gives_events_or_one_end(plains):
    two = opened()
    sender = two.right._sender
    assert sender is not None
    events = two.left.receive(b"".join(bytes(two.right._seal(sender, plain)) for plain in plains))
    assert sum(isinstance(event, Closed) for event in events) == (two.left.state is State.CLOSED)
