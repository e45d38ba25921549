"""Secrets: every text is read or refused with the right sentence, and typing errors are found."""

import itertools
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncfs.crypto.secrets import (
    ALPHABET,
    JoinLink,
    Kind,
    Secret,
    checksum,
    decode_base32,
    encode_base32,
    format_link,
    format_secret,
    group_secret,
    is_link,
    new_invitation_secret,
    new_writer_secret,
    parse_link,
    parse_secret,
    secret_length,
    truncate_key,
)
from syncfs.model.errors import SecretError

keys = st.binary(min_size=17, max_size=17).map(truncate_key)
secrets = st.one_of(
    st.builds(Secret, st.sampled_from([Kind.WRITER, Kind.READER, Kind.INVITATION]), keys),
    st.builds(Secret, st.just(Kind.STORE), keys, keys),
)


def example(kind: Kind, seed: int = 1) -> str:
    source = random.Random(seed)
    key = truncate_key(source.randbytes(17))
    return format_secret(Secret(kind, key, truncate_key(source.randbytes(17)) if kind is Kind.STORE else None))


@given(secrets)
def test_what_is_written_is_read(secret: Secret) -> None:
    text = format_secret(secret)
    assert len(text) == secret_length(secret.kind) == (59 if secret.kind is Kind.STORE else 32)
    assert set(text) <= set(ALPHABET)
    assert parse_secret(text) == secret
    assert parse_secret(f"  {group_secret(text).lower()}\n") == secret
    assert parse_secret(" ".join(text).replace(" ", " \u2013 ")) == secret


@given(st.text() | st.text(ALPHABET, min_size=28, max_size=60))
def test_any_text_is_a_secret_or_a_secret_error(text: str) -> None:
    try:
        secret = parse_secret(text)
    except SecretError:
        return
    assert parse_secret(format_secret(secret)) == secret


@pytest.mark.parametrize("kind", Kind)
def test_every_wrong_character_is_found(kind: Kind) -> None:
    """All single-character errors, without exception; those of the key by the checksum."""
    text = example(kind)
    for place, character in itertools.product(range(len(text)), ALPHABET):
        if character == text[place]:
            continue
        wrong = text[:place] + character + text[place + 1 :]
        with pytest.raises(SecretError, match="checksum" if place else "checksum|unknown kind|characters"):
            parse_secret(wrong)


def test_checksum_keeps_its_promises() -> None:
    """One or two wrong characters anywhere, a swap, four wrong neighbours: always found.

    The checksum is linear up to a constant, so it is enough to look at what each single wrong character changes: if no
    two of these differences are equal, no two errors can hide each other. A run of up to 20 wrong bits is found by any
    CRC of 20 bits whose generator ends in 1; that is tried at random here.
    """
    text = format_secret(Secret(Kind.STORE, bytes(17), bytes(17)))
    body = text[:-4]
    plain = checksum_of(body)
    differences = [value << shift for shift in (15, 10, 5, 0) for value in range(1, 32)]
    for place, change in itertools.product(range(len(body)), range(1, 32)):
        changed = ALPHABET[ALPHABET.index(body[place]) ^ change]
        differences.append(checksum_of(body[:place] + changed + body[place + 1 :]) ^ plain)
    assert 0 not in differences
    assert len(set(differences)) == len(differences) == 59 * 31

    source = random.Random(2)
    text = example(Kind.WRITER)
    for _ in range(3000):
        start = source.randrange(1, len(text) - 3)
        run = "".join(source.choices(ALPHABET, k=4))
        if run != text[start : start + 4]:
            with pytest.raises(SecretError, match="checksum"):
                parse_secret(text[:start] + run + text[start + 4 :])


def checksum_of(body: str) -> int:
    """The 20 bits of the checksum of a body."""
    return int.from_bytes(decode_base32(checksum(body)), "big") >> 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "empty"),
        (" - - ", "empty"),
        ("X" + example(Kind.WRITER)[1:], "unknown kind"),
        (example(Kind.WRITER)[:-1], "has 31 characters"),
        (example(Kind.WRITER) + "A", "has 33 characters"),
        (example(Kind.STORE)[:32], "has 32 characters"),
        (example(Kind.READER)[:-1] + "0", r"no secret has \(0\)"),
        (example(Kind.READER)[:-1] + "\u00df", "no secret has"),
        ("W" * 32, "checksum"),
        ("W" * 100_000, "characters"),
    ],
)
def test_each_slip_has_its_own_sentence(text: str, sentence: str) -> None:
    with pytest.raises(SecretError, match=sentence):
        parse_secret(text)


def test_grouping() -> None:
    assert group_secret("ABCDEFGHIJ") == "ABCD-EFGH-IJ"


@given(st.integers(0, 59), st.binary(min_size=40, max_size=40))
def test_base32_keeps_the_first_bits(characters: int, data: bytes) -> None:
    text = encode_base32(data, characters)
    kept = int.from_bytes(data, "big") >> (8 * len(data) - 5 * characters)
    assert len(text) == characters
    assert int.from_bytes(decode_base32(text), "big") >> (-5 * characters % 8) == kept


def test_new_secrets_differ_and_have_135_bits() -> None:
    made = {new_writer_secret(os.urandom).key for _ in range(100)}
    assert len(made) == 100 and all(len(key) == 17 and not key[-1] & 1 for key in made)
    assert new_invitation_secret(os.urandom).kind is Kind.INVITATION


def test_a_secret_does_not_show_in_logs() -> None:
    secret = Secret(Kind.WRITER, b"secret key bits " + b"\0")
    assert "secret key" not in repr(secret)


@pytest.mark.parametrize(
    ("kind", "key", "fingerprint"),
    [
        (Kind.WRITER, bytes(16), None),
        (Kind.WRITER, bytes(16) + b"\1", None),
        (Kind.WRITER, bytes(17), bytes(17)),
        (Kind.STORE, bytes(17), None),
    ],
)
def test_impossible_secrets_are_bugs(kind: Kind, key: bytes, fingerprint: bytes | None) -> None:
    with pytest.raises(ValueError, match="secret"):
        Secret(kind, key, fingerprint)


printable = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=30)


@given(secrets, st.none() | printable, st.lists(printable, max_size=5))
def test_links_go_round(secret: Secret, name: str | None, peers: list[str]) -> None:
    link = JoinLink(secret, name, tuple(peers))
    text = format_link(link)
    assert is_link(text) and text.isascii()
    assert parse_link(text) == link


def test_link_as_people_write_it() -> None:
    secret = example(Kind.READER)
    link = parse_link(f" SYNCFS://join/{group_secret(secret).lower()}/?name=My+Photos&peer=nas.lan:4711&later=1 ")
    assert link == JoinLink(parse_secret(secret), "My Photos", ("nas.lan:4711",))
    assert format_link(JoinLink(parse_secret(secret))) == f"syncfs://join/{secret}"


@given(st.text() | st.text().map(lambda text: "syncfs://join/" + text))
def test_any_text_is_a_link_or_a_secret_error(text: str) -> None:
    try:
        parse_link(text)
    except SecretError:
        return


@pytest.mark.parametrize(
    "text", ["https://example.org/", "syncfs://join/", "syncfs://[/x", "syncfs://join/W?" + "a=1&" * 99]
)
def test_bad_links_are_refused(text: str) -> None:
    with pytest.raises(SecretError):
        parse_link(text)
