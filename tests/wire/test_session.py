"""Two sessions that talk to each other, in good order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncfs.crypto.keys import Role
from syncfs.model.errors import ForeignError, RefusedError, UnavailableError
from syncfs.wire.messages import KIB, Announce, Chunks, Done, Get, Have
from syncfs.wire.pieces import MIB
from syncfs.wire.session import Closed, HandshakeDone, Incoming, Ponged, Priority, Reply
from syncfs.wire.states import State

from .people import NOW, opened, pair, person, share_keys

A, B = bytes(32), bytes([1]) * 32


def test_the_handshake_tells_each_side_who_the_other_is():
    two = pair(person("ann"), person("bob", Role.READER))
    two.exchange()
    (left,), (right,) = two.left_events, two.right_events
    assert isinstance(left, HandshakeDone)
    assert isinstance(right, HandshakeDone)
    assert (left.peer.name, left.peer.role, left.peer.listen_port) == ("bob", Role.READER, 4000)
    assert left.peer.device == person("bob").identity.id
    assert (right.peer.name, right.peer.role, right.peer.version) == ("ann", Role.WRITER, 2)
    assert right.peer.certificate == person("ann").certificate
    assert right.peer.clock == NOW


def test_a_stranger_gets_no_byte():
    two = pair(person("ann", share="other"))
    (first,) = two.left.data_to_send()
    (event,) = two.right.receive(first)
    assert isinstance(event, Closed)
    assert isinstance(event.error, ForeignError)
    assert two.right.data_to_send() == []
    assert two.right.state is State.CLOSED
    (end,) = two.left.receive_eof()
    assert isinstance(end, Closed)
    assert isinstance(end.error, RefusedError)
    assert "another share" in end.reason


def test_a_replayed_first_message_gets_no_byte():
    seen: set[bytes] = set()

    def fresh(first: bytes) -> bool:
        if first in seen:
            return False
        seen.add(first)
        return True

    recorded = pair().left.data_to_send()[0]
    for answers in (1, 0):
        responder = pair(seed=str(answers)).right
        responder._fresh = fresh
        responder.receive(recorded)
        assert len(responder.data_to_send()) == answers


@pytest.mark.parametrize("roles", [(a, b) for a in Role for b in Role], ids=lambda roles: f"{roles[0].value}")
def test_every_pair_of_roles_can_talk(roles):
    two = pair(person("ann", roles[0]), person("bob", roles[1]))
    two.exchange()
    assert [type(event) for event in two.left_events + two.right_events] == [HandshakeDone, HandshakeDone]


@pytest.mark.parametrize("teacher", [Role.WRITER, Role.READER])
def test_a_joiner_with_only_the_secret_learns_the_key_of_the_share(teacher):
    two = pair(person("ann", Role.READER, learnt=False), person("bob", teacher))
    two.exchange()
    (event,) = two.left_events
    assert isinstance(event, HandshakeDone)
    assert event.peer.learnt is not None
    assert event.peer.learnt.share_public == share_keys().share_public


def test_two_joiners_who_know_nothing_yet_may_talk():
    two = pair(person("ann", Role.READER, learnt=False), person("bob", Role.STORE, learnt=False))
    two.exchange()
    assert all(isinstance(event, HandshakeDone) and event.peer.learnt is None for event in two.left_events)


def test_request_and_reply_with_attachments():
    two = opened()
    number = two.left.request(Get([A, B]), Priority.URGENT)
    two.exchange()
    (incoming,) = two.right_events
    assert isinstance(incoming, Incoming)
    assert (incoming.message, incoming.priority) == (Get([A, B]), Priority.URGENT)
    two.right.reply(incoming, Chunks([A], [B]), [b"content of A"])
    two.exchange()
    assert two.left_events == [Reply(number, Chunks([A], [B]), [b"content of A"])]


def test_posts_go_both_ways_and_want_no_answer():
    two = opened()
    two.left.post(Have({bytes(16): 1}), Priority.NORMAL)
    two.right.post(Announce([b"head"]), Priority.BULK)
    two.exchange()
    assert [event.message for event in two.right_events if isinstance(event, Incoming)] == [Have({bytes(16): 1})]
    assert [event.message for event in two.left_events if isinstance(event, Incoming)] == [Announce([b"head"])]


def test_replies_find_their_requests_in_any_order():
    two = opened()
    numbers = [two.left.request(Get([bytes([n]) * 32]), Priority.NORMAL) for n in range(20)]
    two.exchange()
    for incoming in reversed(two.right_events):
        assert isinstance(incoming, Incoming)
        two.right.reply(incoming, Chunks(incoming.message.addresses), [incoming.message.addresses[0]])
    two.exchange()
    answers = {event.request_id: event.attachments for event in two.left_events if isinstance(event, Reply)}
    assert answers == {number: [bytes([n]) * 32] for n, number in enumerate(numbers)}


def test_ping_and_pong():
    two = opened()
    two.left.ping(7)
    two.exchange()
    assert two.left_events == [Ponged(7)]


def test_credit_lasts_for_ever_if_requests_are_finished():
    two = opened()
    for _ in range(40):
        two.left.request(Announce([bytes(500_000)]), Priority.NORMAL)
        two.exchange()
        (incoming,) = two.right_events
        two.right_events.clear()
        two.right.reply(incoming, Done())
        two.exchange()
    assert len(two.left_events) == 40


def test_a_goodbye_is_heard_and_ends_both():
    two = opened()
    two.left.close("going home")
    assert two.left.state is State.CLOSED
    two.exchange()
    assert two.right_events == [Closed("going home", None)]
    with pytest.raises(UnavailableError):
        two.right.request(Get([A]), Priority.NORMAL)


def test_a_goodbye_overtakes_what_was_half_sent():
    two = opened()
    two.left.request(Get([A]), Priority.BULK)
    two.exchange()
    two.right.reply(two.right_events[0], Chunks([A]), [bytes(1 << 20)])
    two.left.receive(two.right.data_to_send(1)[0])
    two.right.close("enough")
    two.exchange()
    assert two.left_events == [Closed("enough", None)]


def test_the_end_of_the_stream_is_reported_once():
    two = opened()
    (event,) = two.left.receive_eof()
    assert isinstance(event, Closed)
    assert isinstance(event.error, UnavailableError)
    assert two.left.receive_eof() == []


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 3))
def test_how_the_bytes_are_cut_changes_nothing(chunk, seed):
    def talk(size: int):
        two = pair(seed=str(seed))
        two.exchange(chunk=size)
        two.left.request(Get([A]), Priority.NORMAL)
        two.left.post(Have({}), Priority.BULK)
        two.exchange(chunk=size)
        incoming = next(event for event in two.right_events if isinstance(event, Incoming) and event.request_id)
        two.right.reply(incoming, Chunks([A]), [bytes(300_000)])
        two.right.post(Have({}), Priority.URGENT)
        two.right.close("done")
        two.exchange(chunk=size)
        return two.left_events, two.right_events

    assert repr(talk(chunk)) == repr(talk(0))


def test_one_byte_at_a_time():
    two = pair()
    two.exchange(chunk=1)
    two.left.request(Get([A]), Priority.NORMAL)
    two.exchange(chunk=1)
    two.right.reply(two.right_events[-1], Chunks([A]), [b"slowly"])
    two.exchange(chunk=1)
    assert two.left_events[-1] == Reply(1, Chunks([A]), [b"slowly"])


def test_long_frames_are_for_peers_that_know_them(monkeypatch):
    for versions, longest in (((1,), 256 * KIB), ((1, 2), MIB + 4 * KIB)):
        monkeypatch.setattr("syncfs.wire.greeting.VERSIONS", versions)
        two = opened()
        for _ in range(5):
            two.left.longer_frames()
        number = two.right.request(Get([bytes(32)] * 3), Priority.NORMAL)
        two.exchange()
        (incoming,) = (event for event in two.left_events if isinstance(event, Incoming))
        chunks = [bytes([mark]) * MIB for mark in range(3)]
        two.left.reply(incoming, Chunks([bytes(32)] * 3, []), chunks)
        sizes = []
        while sent := two.left.data_to_send(1):
            sizes += map(len, sent)
            two.right_events += [event for part in sent for event in two.right.receive(part)]
        assert max(sizes) == longest + 4 + 16
        (reply,) = (event for event in two.right_events if isinstance(event, Reply))
        assert (reply.request_id, reply.attachments) == (number, chunks)


def test_slow_streams_get_short_frames_again():
    two = opened()
    for _ in range(9):
        two.left.shorter_frames()
    number = two.right.request(Get([bytes(32)]), Priority.NORMAL)
    two.exchange()
    (incoming,) = (event for event in two.left_events if isinstance(event, Incoming))
    assert incoming.request_id == number
    two.left.reply(incoming, Chunks([bytes(32)], []), [bytes(MIB)])
    assert len(two.left.data_to_send(1)[0]) == 16 * KIB + 4 + 16
