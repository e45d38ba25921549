"""Hello: how a side says who it is, and how the other side checks each word of it.

The handshake has proved that the peer knows the share's store key. A Hello binds a device to this very handshake (a
signature of its hash, which nobody can replay elsewhere) and proves the role: a writer by the share's certificate, a
reader by a MAC under a key of readers, a store by one under a key of stores.
"""

import hmac

from syncfs.crypto import labels
from syncfs.crypto.certificates import Certificate, decode_certificate, encode_certificate, verify_certificate
from syncfs.crypto.hashing import keyed_blake3
from syncfs.crypto.identity import device_id, verify
from syncfs.crypto.keys import Role, ShareKeys, with_sealed
from syncfs.model.errors import ForeignError, RefusedError
from syncfs.wire.credentials import Credentials, PeerIdentity
from syncfs.wire.messages import Hello

PROLOGUE = b"syncfs wire 1"
"""Changes only with the handshake itself; what follows it is negotiated by Hello.versions."""
LONG_FRAMES = 2
"""Since this version a frame may have 1 MiB and 4 KiB of pieces; before, it had at most 256 KiB."""
VERSIONS = (1, LONG_FRAMES)
CLOCK_DOUBT = 24 * 3600
"""Seconds of difference from which a text about a certificate also names the clocks."""


def make_hello(credentials: Credentials, handshake_hash: bytes, initiator: bool) -> Hello:
    """Our Hello for the handshake with this hash; `initiator` tells which side we are."""
    bound = _bound(handshake_hash, initiator)
    proof_key = _proof_key(credentials.keys, credentials.role)
    certificate = credentials.certificate
    return Hello(
        versions=list(VERSIONS),
        device_public=credentials.identity.public,
        signature=credentials.identity.sign(bound, labels.SIGN_HELLO),
        role=credentials.role.value,
        proof=b"" if proof_key is None else keyed_blake3(proof_key, bound),
        certificate=b"" if certificate is None else encode_certificate(certificate),
        public=credentials.keys.share_public or b"",
        sealed_salt=credentials.salt_to_tell,
        name=credentials.name,
        listen_port=credentials.listen_port,
        time=max(0, credentials.now()),
        features=list(credentials.features),
    )


def check_hello(credentials: Credentials, hello: Hello, handshake_hash: bytes, peer_is_initiator: bool) -> PeerIdentity:
    """Who sent this Hello. Raises ForeignError for a lie, RefusedError for a peer that we may not talk to."""
    common = set(VERSIONS) & set(hello.versions)
    if not common:
        raise RefusedError("the peer speaks another version of the protocol: update syncfs on both computers")
    bound = _bound(handshake_hash, peer_is_initiator)
    verify(hello.device_public, bound, hello.signature, labels.SIGN_HELLO)
    if hello.device_public == credentials.identity.public:
        raise RefusedError("the address leads back to this very computer: give the address of another one")
    try:
        role = Role(hello.role)
    except ValueError:
        raise ForeignError("a peer claims a role that does not exist") from None
    keys = _keys_after(credentials.keys, hello)
    proof_key = _proof_key(keys, role)
    if proof_key is not None and not hmac.compare_digest(keyed_blake3(proof_key, bound), hello.proof):
        raise RefusedError(f"a peer claims to be a {role.value} and cannot prove it")
    certificate = _check_certificate(credentials, keys, hello, role)
    return PeerIdentity(
        device=device_id(hello.device_public),
        public=hello.device_public,
        role=role,
        name=hello.name if certificate is None else certificate.name,
        certificate=certificate,
        listen_port=hello.listen_port,
        version=max(common),
        clock=hello.time,
        features=tuple(hello.features),
        learnt=None if keys is credentials.keys else keys,
        carried_salt=hello.sealed_salt,
    )


def _bound(handshake_hash: bytes, initiator: bool) -> bytes:
    return handshake_hash + (b"i" if initiator else b"r")


def _proof_key(keys: ShareKeys, role: Role) -> bytes | None:
    return keys.store_proof_key if role is Role.STORE else keys.reader_proof_key


def _keys_after(keys: ShareKeys, hello: Hello) -> ShareKeys:
    """Our keys, completed by the share's public key if the peer tells all of it and it fits our secret."""
    if keys.share_public is not None:
        if hello.public and hello.public != keys.share_public:
            raise RefusedError("the peer belongs to another share: compare the secrets on both computers")
        return keys
    if not hello.public or (keys.role is not Role.STORE and not hello.sealed_salt):
        return keys
    return with_sealed(keys, hello.public, hello.sealed_salt or None)


def _check_certificate(credentials: Credentials, keys: ShareKeys, hello: Hello, role: Role) -> Certificate | None:
    if not hello.certificate:
        if role is Role.WRITER:
            raise RefusedError("a peer claims to be a writer and shows no certificate")
        return None
    certificate = decode_certificate(hello.certificate)
    if certificate.device_public != hello.device_public or certificate.role != hello.role:
        raise ForeignError("a peer shows a certificate that is not its own")
    if keys.share_public is None:
        raise RefusedError("the peer's certificate cannot be checked before the share's public key is known")
    now = credentials.now()
    try:
        verify_certificate(certificate, keys.share_public, now)
    except RefusedError as error:
        if abs(hello.time - now) < CLOCK_DOUBT:
            raise
        days = abs(hello.time - now) // 86400
        raise RefusedError(f"{error} (the clocks of the two computers are {days} days apart)") from error
    return certificate
