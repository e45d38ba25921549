"""Messages: what is written is read again, everything else is one kind of error."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncfs.model.errors import ForeignError
from syncfs.wire import messages as m

HASH = bytes(range(32))
SAMPLES: tuple[m.Message, ...] = (
    m.Hello([1], HASH, bytes(64), "writer", HASH, b"certificate", HASH, HASH, "ann's laptop", 4000, 1, ["x"]),
    m.Ping(1),
    m.Pong(2**63 - 1),
    m.Credit(1, 5),
    m.Goodbye("over and out"),
    m.Done(),
    m.Refused("no"),
    m.Have({bytes(16): 3, b"d" * 16: 0}),
    m.Announce([b"head"], [b"certificate"], [(HASH, b"segment")]),
    m.Get([HASH, bytes(32)]),
    m.Chunks([HASH], [bytes(32)]),
    m.Peers(["host:1", "[::1]:2"]),
)


def test_every_message_has_a_sample():
    assert {type(sample) for sample in SAMPLES} == set(m.Message.__args__)


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_is_read_as_it_was_written(message):
    assert m.decode_message(m.encode_message(message)) == message


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_unknown_fields_at_the_end_are_ignored(message):
    fields = msgspec.msgpack.decode(m.encode_message(message))
    # Fill in the fields that may be left out first, so that what is added stands behind all known ones.
    fields += list(message.__struct_defaults__)[len(fields) - 1 - _required(message) :]
    assert m.decode_message(msgspec.msgpack.encode([*fields, {"new": [1]}])) == message


def _required(message: m.Message) -> int:
    return len(message.__struct_fields__) - len(message.__struct_defaults__)


@pytest.mark.parametrize(
    "wrong",
    [
        [99],
        ["12", [HASH]],
        [12, []],
        [12, [HASH] * 1025],
        [12, [b"short"]],
        [12],
        [4, 0, 5],
        [4, 4, 5],
        [4, 1, 0],
        [2, -1],
        [2, 2**63],
        [5, "x" * 301],
        [5, "two\nlines"],
        [7, "\x1b[31mred"],
        [10, {b"short": 1}],
        [11, [bytes(m.MAX_HEAD + 1)]],
        [11, [], [], [[HASH, bytes(m.MAX_INLINE_SEGMENT + 1)]]],
        [14, ["x" * 256]],
        {"tag": 12},
        None,
    ],
    ids=lambda wrong: repr(wrong)[:40],
)
def test_what_breaks_a_limit_is_refused(wrong):
    with pytest.raises(ForeignError):
        m.decode_message(msgspec.msgpack.encode(wrong))


@given(st.binary(max_size=300))
def test_any_bytes_give_a_message_or_a_foreign_error(data):
    with suppress(ForeignError):
        m.decode_message(data)


@given(st.sampled_from(SAMPLES), st.data())
def test_any_changed_byte_gives_a_message_or_a_foreign_error(message, data):
    encoded = bytearray(m.encode_message(message))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ForeignError):
        m.decode_message(bytes(encoded[: data.draw(st.integers(0, len(encoded)))]))


def test_deep_nesting_is_a_foreign_error():
    with pytest.raises(ForeignError):
        m.decode_message(b"\x93\x02\x01" + b"\x91" * 100_000 + b"\x00")


def test_a_reason_of_ours_can_always_be_sent():
    text = m.short_reason("two\nlines and \x00" + "x" * 1000)
    assert m.decode_message(m.encode_message(m.Goodbye(text))) == m.Goodbye(text)
