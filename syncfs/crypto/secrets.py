"""Secrets as people copy them: reading, writing, checking, links.

A secret is `kind, 27 characters of key, 4 of checksum`; a store's has the 27 characters of the share's fingerprint
before the checksum. The alphabet is the base32 of RFC 4648, read case-insensitively; spaces and dashes are ignored.

The checksum is a code and no hash, so that it can promise: any one or two wrong characters, any swap of two
characters and any four wrong neighbours are always detected, everything else with a probability of 1 - 2⁻²⁰. It is
there against slips, not against attackers: whoever changes a secret on purpose gets a different key, no access.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from syncfs.model.errors import ChecksumError, KindError, SecretError

ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
KEY_BITS: Final = 135
KEY_BYTES: Final = 17
"""Bytes that hold a key; the last bit of the last one is zero."""
KEY_CHARACTERS: Final = 27
CHECKSUM_CHARACTERS: Final = 4

_READABLE: Final = frozenset(ALPHABET + ALPHABET.lower())
_VALUES: Final = {character: value for value, character in enumerate(ALPHABET)}
_CHECKSUM_BITS = 5 * CHECKSUM_CHARACTERS
_GENERATOR = 0xB5827
"""x²⁰ + the terms of this number: tests/crypto/test_secrets.py proves of it what the head of this module promises."""

_IGNORED = re.compile(r"[\s\-\u2010-\u2015\u2212]+")
_LINK_START = "syncfs://join/"
_MAX_TEXT = 4096


class Kind(Enum):
    """What a secret allows; the value is its first character."""

    WRITER = "W"
    READER = "R"
    STORE = "S"
    INVITATION = "I"


@dataclass(frozen=True, slots=True)
class Secret:
    """A kind and a key of 135 bits (17 bytes, the last bit zero); a store's also has a fingerprint of that size."""

    kind: Kind
    key: bytes = field(repr=False)
    fingerprint: bytes | None = None

    def __post_init__(self) -> None:
        for value in (self.key, self.fingerprint):
            if value is not None and value != truncate_key(value):
                raise ValueError("a key of a secret has 135 bits in 17 bytes")
        if (self.fingerprint is not None) != (self.kind is Kind.STORE):
            raise ValueError("a store's secret, and no other, has a fingerprint")


def truncate_key(data: bytes) -> bytes:
    """The first 135 bits of `data` as 17 bytes whose last bit is zero."""
    if len(data) < KEY_BYTES:
        raise ValueError("a key of a secret needs 17 bytes")
    return data[: KEY_BYTES - 1] + bytes([data[KEY_BYTES - 1] & 0xFE])


def new_writer_secret(random: Callable[[int], bytes]) -> Secret:
    """The secret of a new share; `random` gives that many unpredictable bytes."""
    return Secret(Kind.WRITER, truncate_key(random(KEY_BYTES)))


def new_invitation_secret(random: Callable[[int], bytes]) -> Secret:
    """The code of a new invitation; `random` gives that many unpredictable bytes."""
    return Secret(Kind.INVITATION, truncate_key(random(KEY_BYTES)))


def format_secret(secret: Secret) -> str:
    """The 32 characters of a secret (59 of a store's)."""
    body = secret.kind.value + encode_base32(secret.key, KEY_CHARACTERS)
    if secret.fingerprint is not None:
        body += encode_base32(secret.fingerprint, KEY_CHARACTERS)
    return body + checksum(body)


def group_secret(text: str) -> str:
    """A secret in groups of four characters with dashes between, for people to read and type."""
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def parse_secret(text: str) -> Secret:
    """Read what a person typed or pasted. Raises SecretError, whose sentence tells what kind of slip it is."""
    plain = _IGNORED.sub("", text[:_MAX_TEXT])
    if not plain:
        raise SecretError("the secret is empty: copy all of it, it starts with W, R, S or I")
    wrong = sorted(set(plain) - _READABLE)
    if wrong:
        shown = " ".join(character if character.isprintable() else "?" for character in wrong[:5])
        raise SecretError(
            f"the secret holds characters that no secret has ({shown}): it is made of letters A to Z and the digits "
            "2 to 7, so compare it with the original"
        )
    plain = plain.upper()
    try:
        kind = Kind(plain[0])
    except ValueError:
        raise KindError(
            f"the secret starts with {plain[0]}, an unknown kind: it must start with W (read and write), R (read), "
            "S (store) or I (invitation)"
        ) from None
    length = secret_length(kind)
    if len(plain) != length or len(text) > _MAX_TEXT:
        raise SecretError(
            f"the secret has {len(plain)} characters, but one that starts with {kind.value} has {length}: "
            "copy it again, completely"
        )
    body = plain[:-CHECKSUM_CHARACTERS]
    if plain[-CHECKSUM_CHARACTERS:] != checksum(body):
        raise ChecksumError("the checksum of the secret is wrong, so there is a typing error in it: compare it again")
    key = decode_base32(body[1 : 1 + KEY_CHARACTERS])
    fingerprint = decode_base32(body[1 + KEY_CHARACTERS :]) if kind is Kind.STORE else None
    return Secret(kind, key, fingerprint)


def secret_length(kind: Kind) -> int:
    """How many characters a secret of this kind has."""
    return 1 + KEY_CHARACTERS + (KEY_CHARACTERS if kind is Kind.STORE else 0) + CHECKSUM_CHARACTERS


def encode_base32(data: bytes, characters: int) -> str:
    """The first 5 × `characters` bits of `data` in base32 without padding."""
    bits = int.from_bytes(data, "big") >> (8 * len(data) - 5 * characters)
    return "".join(ALPHABET[(bits >> shift) & 31] for shift in range(5 * (characters - 1), -1, -5))


def decode_base32(text: str) -> bytes:
    """The bits of `text` (of ALPHABET only) from the left, filled with zero bits up to a whole byte."""
    bits = 0
    for character in text:
        bits = bits << 5 | _VALUES[character]
    size = (5 * len(text) + 7) // 8
    return (bits << (8 * size - 5 * len(text))).to_bytes(size, "big")


def checksum(body: str) -> str:
    """A CRC of 20 bits over the 5-bit values of `body`, as four characters."""
    register = 1
    top = 1 << (_CHECKSUM_BITS - 1)
    mask = (1 << _CHECKSUM_BITS) - 1
    for character in body:
        register ^= _VALUES[character] << (_CHECKSUM_BITS - 5)
        for _ in range(5):
            register = ((register << 1) ^ _GENERATOR if register & top else register << 1) & mask
    return "".join(ALPHABET[(register >> shift) & 31] for shift in (15, 10, 5, 0))


@dataclass(frozen=True, slots=True)
class JoinLink:
    """What a link carries: a secret, and perhaps a name for the share and `host:port` of peers."""

    secret: Secret
    name: str | None = None
    peers: tuple[str, ...] = ()


def format_link(link: JoinLink) -> str:
    """The link `syncfs://join/<secret>?name=…&peer=host:port`."""
    fields = [("name", link.name)] if link.name else []
    fields += [("peer", peer) for peer in link.peers]
    query = urlencode(fields, quote_via=quote, safe=":[]")
    return _LINK_START + format_secret(link.secret) + ("?" + query if query else "")


def is_link(text: str) -> bool:
    """Whether `text` is meant to be a link rather than a bare secret."""
    return text.strip().lower().startswith("syncfs:")


def parse_link(text: str) -> JoinLink:
    """Read a link; what it carries beyond `name` and `peer` is ignored. Raises SecretError."""
    text = text.strip()
    if len(text) > _MAX_TEXT or not text.lower().startswith(_LINK_START):
        raise SecretError("this is not a link to a share: it has to start with syncfs://join/")
    try:
        parts = urlsplit(text)
        fields = parse_qsl(parts.query, max_num_fields=32)
    except ValueError:
        raise SecretError("the link to the share cannot be read: copy it again, completely") from None
    secret = parse_secret(unquote(parts.path).strip("/"))
    names = [value for field_name, value in fields if field_name == "name"]
    peers = [value for field_name, value in fields if field_name == "peer"]
    if any(not value.isprintable() for value in names + peers):
        raise SecretError("the link to the share holds characters that cannot be shown: ask for a new one")
    return JoinLink(secret, names[0] if names else None, tuple(peers))
