"""The keys of a share, derived one way: writer → reader → store.

    writer's secret → share key pair (authority to write), salt
    public key ‖ salt → reader's secret → content keys, proof of reading
    reader's secret → store's secret → psks, rendezvous, proof of membership, share id

A reader's secret commits to the public key and the salt, a store's secret carries a fingerprint of the public key: so
whoever joins learns them from any peer and checks them. Who knows public key and salt knows the reader's secret.
Therefore the salt is never told to anybody in the clear: peers pass on `sealed_salt`, which only readers can open.
"""

from dataclasses import dataclass, field, replace
from enum import Enum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from syncfs.crypto import labels
from syncfs.crypto.hashing import derive
from syncfs.crypto.secrets import KEY_BYTES, Kind, Secret, encode_base32, truncate_key
from syncfs.model.errors import RefusedError, SecretError

PUBLIC_BYTES = 32
SALT_BYTES = 16
SEALED_SALT_BYTES = SALT_BYTES + 16
SHARE_ID_CHARACTERS = 26
_ZERO_NONCE = bytes(12)

_WRONG_SHARE = "the peer belongs to another share, or answers for one that is not its own: compare the secrets on both"


class Role(Enum):
    """What a peer may do in a share."""

    WRITER = "writer"
    READER = "reader"
    STORE = "store"


@dataclass(frozen=True, slots=True)
class ReadKeys:
    """What makes content readable; each key has 32 bytes."""

    chunk_id_key: bytes = field(repr=False)
    chunk_key: bytes = field(repr=False)
    segment_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ShareKeys:
    """All that one secret of a share gives; None is what this role does not have, or has not learnt yet.

    `share_public` has 32 bytes (Ed25519), `salt` 16, `share_private` is the Ed25519 seed of 32 bytes, every other key
    has 32 bytes. `share_id` may be shown to anybody: it leads back to no key.
    """

    role: Role
    secret: Secret = field(repr=False)
    share_id: str
    share_public: bytes | None
    salt: bytes | None = field(repr=False)
    share_private: bytes | None = field(repr=False)
    read: ReadKeys | None = field(repr=False)
    reader_proof_key: bytes | None = field(repr=False)
    psk0: bytes = field(repr=False)
    psk3: bytes = field(repr=False)
    rendezvous_key: bytes = field(repr=False)
    store_proof_key: bytes = field(repr=False)
    salt_seal_key: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets that follow from one; None where one does not follow from it, or not yet."""

    writer: Secret | None
    reader: Secret | None
    store: Secret | None


def derive_keys(secret: Secret) -> ShareKeys:
    """All keys that follow from a writer's, reader's or store's secret. Raises SecretError for an invitation."""
    if secret.kind is Kind.INVITATION:
        raise SecretError("this is an invitation, not a secret of a share: redeem it first with syncfs join")
    share_private = share_public = salt = reader_key = None
    store_key = secret.key
    if secret.kind is Kind.WRITER:
        share_private = derive(secret.key, labels.DERIVE_SHARE_SIGNING_KEY)
        share_public = Ed25519PrivateKey.from_private_bytes(share_private).public_key().public_bytes_raw()
        salt = derive(secret.key, labels.DERIVE_COMMITMENT_SALT, SALT_BYTES)
        reader_key = _reader_key(share_public, salt)
    elif secret.kind is Kind.READER:
        reader_key = secret.key
    if reader_key is not None:
        store_key = _store_key(reader_key)
    return ShareKeys(
        role={Kind.WRITER: Role.WRITER, Kind.READER: Role.READER, Kind.STORE: Role.STORE}[secret.kind],
        secret=secret,
        share_id=encode_base32(derive(store_key, labels.DERIVE_SHARE_ID), SHARE_ID_CHARACTERS).lower(),
        share_public=share_public,
        salt=salt,
        share_private=share_private,
        read=None if reader_key is None else _read_keys(reader_key),
        reader_proof_key=None if reader_key is None else derive(reader_key, labels.DERIVE_READER_PROOF_KEY),
        psk0=derive(store_key, labels.DERIVE_PSK0),
        psk3=derive(store_key, labels.DERIVE_PSK3),
        rendezvous_key=derive(store_key, labels.DERIVE_RENDEZVOUS_KEY),
        store_proof_key=derive(store_key, labels.DERIVE_STORE_PROOF_KEY),
        salt_seal_key=None if reader_key is None else derive(reader_key, labels.DERIVE_SALT_SEAL_KEY),
    )


def with_public(keys: ShareKeys, share_public: bytes, salt: bytes | None = None) -> ShareKeys:
    """The keys completed by what was learnt, once it fits the secret; a store needs and keeps no salt.

    Raises RefusedError if the public key (or, for a reader, the salt) is not the one the secret commits to.
    """
    if len(share_public) != PUBLIC_BYTES:
        raise RefusedError(_WRONG_SHARE)
    if keys.role is Role.STORE:
        if fingerprint_of(share_public) != keys.secret.fingerprint:
            raise RefusedError(_WRONG_SHARE)
        return replace(keys, share_public=share_public)
    if keys.role is Role.READER:
        if salt is None or len(salt) != SALT_BYTES or _reader_key(share_public, salt) != keys.secret.key:
            raise RefusedError(_WRONG_SHARE)
        return replace(keys, share_public=share_public, salt=salt)
    if share_public != keys.share_public or salt not in (None, keys.salt):
        raise RefusedError(_WRONG_SHARE)
    return keys


def sealed_salt(keys: ShareKeys) -> bytes | None:
    """The salt so that it may be told to any peer, 32 bytes; None for who does not know it."""
    if keys.salt is None or keys.salt_seal_key is None:
        return None
    # The zero nonce is safe: a share has one salt, so this key only ever encrypts this one text.
    return AESGCM(keys.salt_seal_key).encrypt(_ZERO_NONCE, keys.salt, None)


def with_sealed(keys: ShareKeys, share_public: bytes, sealed: bytes | None) -> ShareKeys:
    """Like `with_public`, from what a peer tells: the public key and the sealed salt. Raises RefusedError."""
    if keys.salt_seal_key is None or sealed is None:
        return with_public(keys, share_public)
    try:
        salt = AESGCM(keys.salt_seal_key).decrypt(_ZERO_NONCE, sealed, None)
    except (InvalidTag, ValueError):
        raise RefusedError(_WRONG_SHARE) from None
    return with_public(keys, share_public, salt)


def secrets_of(keys: ShareKeys) -> Secrets:
    """The secrets that may be handed on; a store's only where the share's public key is known."""
    writer = keys.secret if keys.role is Role.WRITER else None
    reader = keys.secret if keys.role is Role.READER else None
    if keys.role is Role.STORE:
        return Secrets(None, None, keys.secret)
    if writer is not None and keys.share_public is not None and keys.salt is not None:
        reader = Secret(Kind.READER, _reader_key(keys.share_public, keys.salt))
    store = None
    if reader is not None and keys.share_public is not None:
        store = Secret(Kind.STORE, _store_key(reader.key), fingerprint_of(keys.share_public))
    return Secrets(writer, reader, store)


def fingerprint_of(share_public: bytes) -> bytes:
    """The 135 bits of a share's public key that a store's secret carries."""
    return truncate_key(derive(share_public, labels.DERIVE_FINGERPRINT, KEY_BYTES))


def _reader_key(share_public: bytes, salt: bytes) -> bytes:
    return truncate_key(derive(share_public + salt, labels.DERIVE_READER_SECRET, KEY_BYTES))


def _store_key(reader_key: bytes) -> bytes:
    return truncate_key(derive(reader_key, labels.DERIVE_STORE_SECRET, KEY_BYTES))


def _read_keys(reader_key: bytes) -> ReadKeys:
    return ReadKeys(
        chunk_id_key=derive(reader_key, labels.DERIVE_CHUNK_ID_KEY),
        chunk_key=derive(reader_key, labels.DERIVE_CHUNK_KEY),
        segment_key=derive(reader_key, labels.DERIVE_SEGMENT_KEY),
    )
