"""What peers say to each other: msgspec Structs in msgpack, as arrays, each with its limits beside it.

Rules: a field may be added at the end of a message only, with a default; a reader ignores elements it does not know at
the end. A message whose tag is unknown, or that breaks a limit, is a ForeignError. Tags are numbers and are never used
twice. Free for later: 20 to 29 holders, 30 to 39 punching and relays, 40 to 49 invitations and revocations.

Content never goes through msgpack: a Chunks message names what follows it as raw attachments (see wire.pieces).
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from syncfs.model.errors import ForeignError
from syncfs.model.ids import DEVICE_BYTES, HASH_BYTES

KIB = 1024
MAX_GET = 1024
"""Addresses in one Get."""
MAX_REASON = 300
MAX_DEVICE_NAME = 100
MAX_HEAD = 512 * KIB
"""Bytes of one encoded head."""
MAX_INLINE_SEGMENT = 256 * KIB
"""Bytes of one segment inside an announcement; a larger one is fetched with Get."""

_Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
_Hash = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
_Device = Annotated[bytes, Meta(min_length=DEVICE_BYTES, max_length=DEVICE_BYTES)]
_Small = Annotated[bytes, Meta(max_length=2048)]
_Word = Annotated[str, Meta(max_length=32)]
_Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Hello(Struct, frozen=True, array_like=True, tag=1):
    """The first message of each side inside the encrypted channel: who is there, and the proof of it.

    `signature` is the device's Ed25519 signature of the handshake hash and the side; `proof` is a MAC of the same under
    the proof key of the role (a writer shows its certificate as well). `public` is the share's key, `sealed_salt` its
    salt as only readers can open it; both are empty where the sender has not learnt them. `time` is the sender's clock
    in s since 1970, for people and for error texts only.
    """

    versions: Annotated[list[_Number], Meta(min_length=1, max_length=16)]
    device_public: _Key
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]
    role: _Word
    proof: Annotated[bytes, Meta(max_length=64)]
    certificate: _Small = b""
    public: Annotated[bytes, Meta(max_length=32)] = b""
    sealed_salt: Annotated[bytes, Meta(max_length=64)] = b""
    name: Annotated[str, Meta(max_length=MAX_DEVICE_NAME)] = ""
    listen_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    time: _Number = 0
    features: Annotated[list[_Word], Meta(max_length=64)] = []


class Ping(Struct, frozen=True, array_like=True, tag=2):
    """Asks for a Pong with the same token."""

    token: _Number


class Pong(Struct, frozen=True, array_like=True, tag=3):
    """Answers a Ping."""

    token: _Number


class Credit(Struct, frozen=True, array_like=True, tag=4):
    """The receiver has finished with so many bytes of requests of this lane: as many more may be sent."""

    lane: Annotated[int, Meta(ge=1, le=3)]
    amount: Annotated[int, Meta(ge=1, le=2**32 - 1)]


class Goodbye(Struct, frozen=True, array_like=True, tag=5):
    """The last message of a link, and why it ends."""

    reason: Annotated[str, Meta(max_length=MAX_REASON)]


class Done(Struct, frozen=True, array_like=True, tag=6):
    """The answer to a request that asks for nothing but being done."""


class Refused(Struct, frozen=True, array_like=True, tag=7):
    """The answer to a request that is not granted."""

    reason: Annotated[str, Meta(max_length=MAX_REASON)]


class Have(Struct, frozen=True, array_like=True, tag=10):
    """The feeds the sender has applied: device → last sequence number, and the mark there (see wire/head.py)."""

    feeds: Annotated[dict[_Device, _Number], Meta(max_length=10_000)]
    marks: Annotated[dict[_Device, Annotated[bytes, Meta(max_length=64)]], Meta(max_length=10_000)] = {}


class Announce(Struct, frozen=True, array_like=True, tag=11):
    """Newer signed heads, the certificates they need, and small segments (address, sealed bytes) inside."""

    heads: Annotated[list[Annotated[bytes, Meta(max_length=MAX_HEAD)]], Meta(max_length=1024)]
    certificates: Annotated[list[_Small], Meta(max_length=1024)] = []
    segments: Annotated[
        list[tuple[_Hash, Annotated[bytes, Meta(max_length=MAX_INLINE_SEGMENT)]]], Meta(max_length=1024)
    ] = []


class Get(Struct, frozen=True, array_like=True, tag=12):
    """Asks for sealed chunks by address; answered by Chunks."""

    addresses: Annotated[list[_Hash], Meta(min_length=1, max_length=MAX_GET)]


class Chunks(Struct, frozen=True, array_like=True, tag=13):
    """Answers a Get: the bytes of `found` follow as attachments in the same order; `missing` are not here.

    An address in neither list did not fit into the message: ask again.
    """

    found: Annotated[list[_Hash], Meta(max_length=MAX_GET)]
    missing: Annotated[list[_Hash], Meta(max_length=MAX_GET)] = []


class Peers(Struct, frozen=True, array_like=True, tag=14):
    """Where other peers of the share were reached lately, as `host:port` or `[v6]:port`."""

    addresses: Annotated[list[Annotated[str, Meta(max_length=255)]], Meta(max_length=256)]


Message = Hello | Ping | Pong | Credit | Goodbye | Done | Refused | Have | Announce | Get | Chunks | Peers
ControlMessage = Ping | Pong | Credit | Goodbye | Hello
CONTROL = (Hello, Ping, Pong, Credit, Goodbye)
"""Messages that belong to the session itself: one piece each, never a request nor a reply."""
ANSWERS = (Done, Refused, Chunks)
"""Messages that are replies and nothing else."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode_message(message: Message) -> bytes:
    """The msgpack bytes of a message, without its attachments."""
    return _encoder.encode(message)


def decode_message(data: bytes | memoryview) -> Message:
    """The message in foreign bytes. Raises ForeignError."""
    try:
        message = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ForeignError(f"a peer sent a message that cannot be read ({short_reason(str(error))})") from error
    match message:
        case Goodbye(reason=text) | Refused(reason=text) | Hello(name=text) if text and not text.isprintable():
            raise ForeignError("a peer sent a text that cannot be shown")
        case _:
            return message


def short_reason(text: str) -> str:
    """A text of ours made fit for Goodbye and Refused: printable and short."""
    return "".join(char if char.isprintable() else " " for char in text)[:MAX_REASON]
