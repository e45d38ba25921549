"""Derivations run one way, and what a joiner learns from a peer must fit the secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncfs.crypto.keys import (
    Role,
    ShareKeys,
    derive_keys,
    fingerprint_of,
    sealed_salt,
    secrets_of,
    with_public,
    with_sealed,
)
from syncfs.crypto.secrets import Kind, Secret, truncate_key
from syncfs.model.errors import RefusedError, SecretError

writer_secrets = st.binary(min_size=17, max_size=17).map(lambda key: Secret(Kind.WRITER, truncate_key(key)))


def family(number: int = 1) -> tuple[ShareKeys, ShareKeys, ShareKeys]:
    """Writer's, reader's and store's keys of one share; the latter two as after typing the secret."""
    writer = derive_keys(Secret(Kind.WRITER, bytes(15) + bytes([number, 0])))
    secrets = secrets_of(writer)
    assert secrets.reader is not None and secrets.store is not None
    return writer, derive_keys(secrets.reader), derive_keys(secrets.store)


@given(writer_secrets)
def test_all_roles_meet_and_each_knows_what_it_should(secret: Secret) -> None:
    writer = derive_keys(secret)
    secrets = secrets_of(writer)
    assert secrets.writer == secret and secrets.reader is not None and secrets.store is not None
    reader, store = derive_keys(secrets.reader), derive_keys(secrets.store)
    assert (writer.role, reader.role, store.role) == (Role.WRITER, Role.READER, Role.STORE)
    for keys in (reader, store):
        for shared in ("share_id", "psk0", "psk3", "rendezvous_key", "store_proof_key"):
            assert getattr(keys, shared) == getattr(writer, shared)
        assert keys.share_private is None and keys.share_public is None and keys.salt is None
    assert reader.read == writer.read and reader.reader_proof_key == writer.reader_proof_key
    assert store.read is None and store.reader_proof_key is None and store.salt_seal_key is None
    assert len(writer.share_id) == 26


def test_every_key_is_another_one() -> None:
    writer = family()[0]
    assert writer.read is not None
    values = [getattr(writer, name) for name in ShareKeys.__dataclass_fields__ if name != "read"]
    values += [writer.read.chunk_id_key, writer.read.chunk_key, writer.read.segment_key]
    keys = [value for value in values if isinstance(value, bytes)]
    assert len(keys) == len(set(keys)) == 12


def test_joiners_learn_and_check() -> None:
    writer, reader, store = family()
    assert writer.share_public is not None and writer.salt is not None
    learnt = with_public(reader, writer.share_public, writer.salt)
    assert (learnt.share_public, learnt.salt) == (writer.share_public, writer.salt)
    assert secrets_of(learnt) == secrets_of(writer).__class__(None, reader.secret, store.secret)
    assert secrets_of(reader).store is None
    assert with_public(store, writer.share_public).share_public == writer.share_public
    assert with_public(store, writer.share_public, writer.salt).salt is None
    assert with_public(writer, writer.share_public) == writer
    assert secrets_of(store).store == store.secret


def test_sealed_salt_serves_readers_and_tells_stores_nothing() -> None:
    writer, reader, store = family()
    assert writer.share_public is not None and writer.salt is not None
    sealed = sealed_salt(writer)
    assert sealed is not None and len(sealed) == 32 and writer.salt not in sealed
    learnt = with_sealed(reader, writer.share_public, sealed)
    assert learnt == with_public(reader, writer.share_public, writer.salt)
    assert sealed_salt(learnt) == sealed and sealed_salt(reader) is None
    knows = with_sealed(store, writer.share_public, sealed)
    assert knows.salt is None and sealed_salt(knows) is None
    assert with_sealed(writer, writer.share_public, None) == writer


def test_what_does_not_fit_is_refused() -> None:
    writer, reader, store = family()
    other = family(2)[0]
    assert writer.share_public is not None and writer.salt is not None and other.share_public is not None
    for keys in (writer, reader, store):
        for public in (other.share_public, b"", bytes(33)):
            with pytest.raises(RefusedError):
                with_public(keys, public, writer.salt)
    for salt in (None, other.salt, b"", writer.salt + b"\0"):
        with pytest.raises(RefusedError):
            with_public(reader, writer.share_public, salt)
    for sealed in (None, b"", bytes(32), sealed_salt(other)):
        with pytest.raises(RefusedError):
            with_sealed(reader, writer.share_public, sealed)


def test_public_key_and_salt_cannot_be_cut_elsewhere() -> None:
    """A key that is one byte longer and a salt one shorter would hash alike, so sizes are checked."""
    writer, reader, _ = family()
    assert writer.share_public is not None and writer.salt is not None
    with pytest.raises(RefusedError):
        with_public(reader, writer.share_public + writer.salt[:1], writer.salt[1:])


def test_invitation_has_no_keys() -> None:
    with pytest.raises(SecretError, match="invitation"):
        derive_keys(Secret(Kind.INVITATION, bytes(17)))


def test_keys_do_not_show_in_logs() -> None:
    writer = family()[0]
    shown = repr(writer) + repr(writer.read)
    for value in (writer.psk0, writer.secret.key, writer.share_private, writer.salt):
        assert repr(value) not in shown
    assert len(fingerprint_of(writer.share_public or b"")) == 17
