"""The handshake: fixed vectors, an independent implementation, and every kind of interference."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from syncfs.crypto.frames import FrameCipher
from syncfs.crypto.noise import MAX_MESSAGE, NAME, Handshake, x25519_public
from syncfs.model.errors import ForeignError

OWN_VECTORS = Path(__file__).parent / "vectors" / "noise.json"
PSK0, PSK3 = b"\x01" * 32, b"\x02" * 32


def pair(
    *, psk0: bytes = PSK0, psk3: bytes = PSK3, prologue: bytes = b"p", ephemeral: bool = True
) -> tuple[Handshake, Handshake]:
    """An initiator that knows the usual psks and a responder that knows the given ones."""
    return (
        Handshake(True, b"p", PSK0, PSK3, b"\x11" * 32, b"\x12" * 32 if ephemeral else None),
        Handshake(False, prologue, psk0, psk3, b"\x21" * 32, b"\x22" * 32 if ephemeral else None),
    )


def run(initiator: Handshake, responder: Handshake) -> None:
    for writer, reader in ((initiator, responder), (responder, initiator), (initiator, responder)):
        assert reader.read(writer.write(b"payload")) == b"payload"


def follow(vector: dict[str, Any]) -> None:
    """Run one vector in the form that the Noise vector files have: every byte must agree."""
    unhex = bytes.fromhex
    initiator = Handshake(
        True,
        unhex(vector["init_prologue"]),
        *(unhex(psk) for psk in vector["init_psks"]),
        unhex(vector["init_static"]),
        unhex(vector["init_ephemeral"]),
    )
    responder = Handshake(
        False,
        unhex(vector["resp_prologue"]),
        *(unhex(psk) for psk in vector["resp_psks"]),
        unhex(vector["resp_static"]),
        unhex(vector["resp_ephemeral"]),
    )
    messages = [(unhex(message["payload"]), unhex(message["ciphertext"])) for message in vector["messages"]]
    for number, (payload, expected) in enumerate(messages[:3]):
        writer, reader = (responder, initiator) if number % 2 else (initiator, responder)
        message = writer.write(payload)
        assert message == expected
        assert reader.read(message) == payload
    assert initiator.finished and responder.finished
    assert initiator.hash == responder.hash
    assert initiator.split() == responder.split()
    if "handshake_hash" in vector:
        assert initiator.hash == unhex(vector["handshake_hash"])
    assert initiator.remote_static == x25519_public(unhex(vector["resp_static"]))
    assert responder.remote_static == x25519_public(unhex(vector["init_static"]))
    ways = [(FrameCipher(key), FrameCipher(key)) for key in initiator.split()]
    for number, (payload, expected) in enumerate(messages[3:], 3):
        sender, receiver = ways[number % 2]
        assert sender.encrypt(payload) == expected
        assert receiver.decrypt(expected) == payload


def test_own_vectors() -> None:
    vectors = json.loads(OWN_VECTORS.read_text())["vectors"]
    assert vectors
    for vector in vectors:
        follow(vector)


@pytest.mark.parametrize("first", [True, False])
def test_an_independent_implementation_agrees(first: bool) -> None:
    """The package noiseprotocol, which shares nothing with ours but the primitives of `cryptography`."""
    theirs = NoiseConnection.from_name(NAME)
    theirs.set_psks(psks=[PSK0, PSK3])
    theirs.set_prologue(b"p")
    theirs.set_keypair_from_private_bytes(Keypair.STATIC, b"\x31" * 32)
    if first:
        theirs.set_as_responder()
    else:
        theirs.set_as_initiator()
    theirs.start_handshake()
    ours = Handshake(first, b"p", PSK0, PSK3, b"\x11" * 32, None)
    writing = first
    while not ours.finished:
        if writing:
            assert theirs.read_message(ours.write(b"from us")) == b"from us"
        else:
            assert ours.read(bytes(theirs.write_message(b"from them"))) == b"from them"
        writing = not writing
    assert theirs.handshake_finished and theirs.get_handshake_hash() == ours.hash
    assert ours.remote_static == x25519_public(b"\x31" * 32)
    sending, receiving = map(FrameCipher, ours.split() if first else ours.split()[::-1])
    for number in range(3):
        assert theirs.decrypt(sending.encrypt(b"%d" % number)) == b"%d" % number
        assert receiving.decrypt(bytes(theirs.encrypt(b"%d" % number))) == b"%d" % number


def test_random_ephemerals_agree_and_differ() -> None:
    hashes = set()
    for _ in range(2):
        initiator, responder = pair(ephemeral=False)
        run(initiator, responder)
        assert initiator.hash == responder.hash and initiator.split() == responder.split()
        hashes.add(initiator.hash)
    assert len(hashes) == 2


@pytest.mark.parametrize("change", [{"psk0": b"\x03" * 32}, {"prologue": b"q"}])
def test_stranger_cannot_read_the_first_message(change: dict[str, bytes]) -> None:
    initiator, responder = pair(**change)
    with pytest.raises(ForeignError):
        responder.read(initiator.write())
    assert not responder.my_turn and not responder.finished
    with pytest.raises(RuntimeError):
        responder.write()


def test_wrong_psk3_fails_at_the_end() -> None:
    initiator, responder = pair(psk3=b"\x03" * 32)
    responder.read(initiator.write())
    initiator.read(responder.write())
    with pytest.raises(ForeignError):
        responder.read(initiator.write())
    assert not responder.finished


@given(st.binary(max_size=200))
def test_any_bytes_are_a_foreign_error(data: bytes) -> None:
    responder = pair()[1]
    with pytest.raises(ForeignError):
        responder.read(data)


@given(st.integers(0, 2), st.data())
def test_any_changed_byte_is_noticed(step: int, data: st.DataObject) -> None:
    sides = pair()
    for number in range(step):
        sides[1 - number % 2].read(sides[number % 2].write(b"x"))
    message = bytearray(sides[step % 2].write(b"x"))
    place = data.draw(st.integers(0, len(message) - 1))
    message[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ForeignError):
        sides[1 - step % 2].read(bytes(message))


def test_messages_out_of_turn_and_too_long() -> None:
    initiator, responder = pair()
    with pytest.raises(RuntimeError):
        responder.write()
    with pytest.raises(RuntimeError):
        initiator.split()
    with pytest.raises(RuntimeError):
        _ = initiator.remote_static
    with pytest.raises(ForeignError):
        responder.read(bytes(MAX_MESSAGE + 1))
    with pytest.raises(ForeignError):
        initiator.read(b"")


def test_point_of_small_order_is_refused() -> None:
    """A key of zeros would make the shared secret known to everybody."""
    initiator, responder = pair()
    responder.read(initiator.write())
    message = responder.write()
    with pytest.raises(ForeignError):
        initiator.read(bytes(32) + message[32:])
