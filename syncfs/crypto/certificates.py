"""Certificates: the share key states that a device may act in a role, for ever or until a time.

A certificate has exactly one encoding (msgpack array, tag first), so that its bytes can be compared and counted. What
does not decode to that is refused whole. Times are seconds since 1970.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct

from syncfs.crypto import labels
from syncfs.crypto.identity import PUBLIC_BYTES, SIGNATURE_BYTES, device_id, sign_with_seed, verify
from syncfs.crypto.keys import Role, ShareKeys
from syncfs.model.errors import ForeignError, RefusedError, SecretError, UsageError
from syncfs.model.ids import DeviceId

SERIAL_BYTES: Final = 8
MAX_NAME_BYTES: Final = 64
MAX_CERTIFICATE_BYTES: Final = 256
CLOCK_TOLERANCE: Final = 24 * 3600
"""Seconds by which a certificate with an end may seem to come from the future."""
_MAX_TIME = 253_402_300_799
"""The last second of the year 9999."""
_ROLES = frozenset(role.value for role in Role)


class Certificate(Struct, frozen=True, array_like=True, tag=1):
    """`device_public` may act as `role` from `issued` to `expires` (0 = for ever); `signature` is by the share key."""

    device_public: bytes
    role: str
    name: str
    issued: int
    expires: int
    serial: bytes
    signature: bytes

    @property
    def device(self) -> DeviceId:
        """The id of the certified device."""
        return device_id(self.device_public)


class _Statement(Struct, frozen=True, array_like=True, tag=1):
    """What is signed: a certificate without its signature."""

    device_public: bytes
    role: str
    name: str
    issued: int
    expires: int
    serial: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Certificate)


def check_device_name(name: str) -> None:
    """Refuse a name of a device that cannot be shown. Raises UsageError."""
    if not _name_fits(name):
        raise UsageError(f"a device's name has 1 to {MAX_NAME_BYTES} bytes of printable text: choose another one")


def issue(
    keys: ShareKeys,
    device_public: bytes,
    role: Role,
    name: str,
    issued: int,
    expires: int,
    random: Callable[[int], bytes],
) -> Certificate:
    """Certify a device; `random` gives the serial. Raises SecretError without a writer's secret, UsageError."""
    if keys.share_private is None:
        raise SecretError("only who has the read-write secret of a share can certify a device: ask for that secret")
    check_device_name(name)
    if not (0 <= issued <= _MAX_TIME and (expires == 0 or issued < expires <= _MAX_TIME)):
        raise UsageError("a certificate has to end after it begins: check the clock of this computer and the expiry")
    statement = _Statement(device_public, role.value, name, issued, expires, random(SERIAL_BYTES))
    signature = sign_with_seed(keys.share_private, _encoder.encode(statement), labels.SIGN_CERTIFICATE)
    certificate = _signed(statement, signature)
    if not _well_formed(certificate):
        raise ValueError("a device's public key has 32 bytes and a serial 8")
    return certificate


def verify_certificate(certificate: Certificate, share_public: bytes, now: int) -> None:
    """Check that the share key signed the certificate and that it is valid at `now`, seconds since 1970.

    Raises ForeignError if it is forged or malformed, RefusedError if it has ended or has not begun. A clock matters
    only to a certificate that ends: one without an end is valid whatever the time.
    """
    if not _well_formed(certificate):
        raise ForeignError("a certificate from a peer is malformed, so it was refused")
    statement = _Statement(
        certificate.device_public,
        certificate.role,
        certificate.name,
        certificate.issued,
        certificate.expires,
        certificate.serial,
    )
    verify(share_public, _encoder.encode(statement), certificate.signature, labels.SIGN_CERTIFICATE)
    if not certificate.expires:
        return
    if now >= certificate.expires:
        raise RefusedError(
            f"the certificate of {certificate.name} ended on {_day(certificate.expires)} and today seems to be "
            f"{_day(now)}: ask a writer for a new one, or set the clock if the date is wrong"
        )
    if now < certificate.issued - CLOCK_TOLERANCE:
        raise RefusedError(
            f"the certificate of {certificate.name} begins on {_day(certificate.issued)} but today seems to be "
            f"{_day(now)}: set the clock of this computer"
        )


def encode_certificate(certificate: Certificate) -> bytes:
    """The only encoding of a certificate, at most 256 bytes."""
    return _encoder.encode(certificate)


def decode_certificate(data: bytes) -> Certificate:
    """Read a certificate without checking its signature. Raises ForeignError on anything odd, and nothing else."""
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise ForeignError("a certificate from a peer is too long, so it was refused")
    try:
        certificate = _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ForeignError("a certificate from a peer cannot be read, so it was refused") from None
    if not _well_formed(certificate) or _encoder.encode(certificate) != bytes(data):
        raise ForeignError("a certificate from a peer is malformed, so it was refused")
    return certificate


def _signed(statement: _Statement, signature: bytes) -> Certificate:
    return Certificate(
        statement.device_public,
        statement.role,
        statement.name,
        statement.issued,
        statement.expires,
        statement.serial,
        signature,
    )


def _well_formed(certificate: Certificate) -> bool:
    return (
        len(certificate.device_public) == PUBLIC_BYTES
        and certificate.role in _ROLES
        and _name_fits(certificate.name)
        and 0 <= certificate.issued <= _MAX_TIME
        and (certificate.expires == 0 or certificate.issued < certificate.expires <= _MAX_TIME)
        and len(certificate.serial) == SERIAL_BYTES
        and len(certificate.signature) == SIGNATURE_BYTES
    )


def _name_fits(name: str) -> bool:
    return name.isprintable() and 0 < len(name.encode("utf-8", "replace")) <= MAX_NAME_BYTES


def _day(time: int) -> str:
    if not 0 <= time <= _MAX_TIME:
        return "a day that no calendar has"
    return datetime.fromtimestamp(time, UTC).date().isoformat()
