"""The LAN beacon: what members read, what others cannot, and what hostile bytes may cause."""

import json
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncfs.discovery.beacon import (
    BEACON_BYTES,
    INSTANCE_BYTES,
    MAX_BODY_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    Beacon,
    BeaconKeys,
    Kind,
    _tag,
    beacon_keys,
    decode_beacon,
    encode_beacon,
    share_tag,
)
from syncfs.model.errors import ForeignError

KEYS = beacon_keys(bytes(range(32)))
BEACON = Beacon(Kind.HELLO, 4711, 1_700_000_000, b"instance")
NONCE = bytes(range(16))

beacons = st.builds(
    Beacon,
    st.sampled_from(Kind),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(min_size=INSTANCE_BYTES, max_size=INSTANCE_BYTES),
)
keys = st.binary(min_size=32, max_size=32).map(beacon_keys)
nonces = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)


@given(keys, beacons, nonces)
def test_members_read_what_was_said(keys: BeaconKeys, beacon: Beacon, nonce: bytes) -> None:
    data = encode_beacon(keys, beacon, nonce)
    assert len(data) == BEACON_BYTES
    assert decode_beacon(keys, data) == beacon


def test_golden_vector() -> None:
    golden = json.loads(Path(__file__).with_name("beacon.json").read_text())
    made_keys = beacon_keys(bytes.fromhex(golden["rendezvous_key"]))
    beacon = Beacon(Kind[golden["kind"]], golden["port"], golden["time"], bytes.fromhex(golden["instance"]))
    assert encode_beacon(made_keys, beacon, bytes.fromhex(golden["nonce"])).hex() == golden["datagram"]
    assert share_tag(bytes.fromhex(golden["rendezvous_key"])).hex() == golden["share_tag"]


@given(st.binary(max_size=100))
@example(b"")
@example(bytes(BEACON_BYTES))
def test_any_bytes_cause_a_foreign_error_at_most(data: bytes) -> None:
    with pytest.raises(ForeignError):
        decode_beacon(KEYS, data)


@given(beacons, st.integers(0, BEACON_BYTES - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(beacon: Beacon, at: int, change: int) -> None:
    data = bytearray(encode_beacon(KEYS, beacon, NONCE))
    data[at] ^= change
    with pytest.raises(ForeignError):
        decode_beacon(KEYS, bytes(data))


@given(st.integers(0, BEACON_BYTES - 1))
def test_a_cut_datagram_is_noticed(length: int) -> None:
    with pytest.raises(ForeignError):
        decode_beacon(KEYS, encode_beacon(KEYS, BEACON, NONCE)[:length])


@given(keys)
def test_another_key_reads_nothing(keys: BeaconKeys) -> None:
    if keys != KEYS:
        with pytest.raises(ForeignError):
            decode_beacon(keys, encode_beacon(KEYS, BEACON, NONCE))


@given(st.integers(0, 2**32), st.lists(nonces, min_size=2, max_size=6, unique=True))
def test_datagrams_of_one_device_share_nothing(time: int, nonces: list[bytes]) -> None:
    """With random nonces; Hypothesis likes similar ones, so the nonce itself is left out of the comparison."""
    beacon = Beacon(Kind.ALIVE, 4711, time, b"instance")
    said = [encode_beacon(KEYS, beacon, nonce)[NONCE_BYTES:] for nonce in nonces]
    for first, second in combinations(said, 2):
        pieces = {first[at : at + 8] for at in range(len(first) - 7)}
        assert not any(second[at : at + 8] in pieces for at in range(len(second) - 7))
    assert not any(b"instance" in data for data in said)


def test_what_a_later_version_appends_is_passed_over() -> None:
    plain = encode_beacon(KEYS, BEACON, NONCE)
    for extra in (1, MAX_BODY_BYTES - (BEACON_BYTES - NONCE_BYTES - TAG_BYTES)):
        masked = plain[NONCE_BYTES + TAG_BYTES :] + b"x" * extra
        assert decode_beacon(KEYS, NONCE + _tag(KEYS, NONCE, masked) + masked) == BEACON
    too_long = bytes(MAX_BODY_BYTES + 1)
    with pytest.raises(ForeignError, match="length"):
        decode_beacon(KEYS, NONCE + _tag(KEYS, NONCE, too_long) + too_long)


@pytest.mark.parametrize("kind", [0, 4, 255])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    unknown = Beacon(kind, 1, 1, b"instance")  # type: ignore[arg-type]
    with pytest.raises(ForeignError, match="kind"):
        decode_beacon(KEYS, encode_beacon(KEYS, unknown, NONCE))
