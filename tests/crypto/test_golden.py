"""A change of any derivation or format shows up as a difference to golden.json, and what it holds can still be read."""

import json
from pathlib import Path
from typing import Any

import pytest

from syncfs.crypto import labels
from syncfs.crypto.certificates import decode_certificate, verify_certificate
from syncfs.crypto.frames import FrameCipher
from syncfs.crypto.hashing import blake3
from syncfs.crypto.identity import verify
from syncfs.crypto.keys import derive_keys
from syncfs.crypto.sealing import JournalCipher, Sealer, check_address, open_segment
from syncfs.crypto.secrets import parse_link, parse_secret
from syncfs.crypto.vault import Vault
from syncfs.model.ids import Address, ChunkId
from tests.crypto import golden


@pytest.fixture
def values() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(golden.PATH.read_text())
    return loaded


def test_everything_is_made_as_ever(values: dict[str, Any], tmp_path: Path) -> None:
    made = golden.compute(tmp_path / "home")
    assert made.keys() == values.keys()
    for part in made:
        assert made[part] == values[part], part


def test_labels_are_used_once() -> None:
    used = [value for name, value in vars(labels).items() if name.startswith(("DERIVE_", "SIGN_"))]
    assert len(used) == len(set(used)) >= 18
    assert all(value.isascii() and "\0" not in value for value in used)


def test_old_secrets_and_links_are_read(values: dict[str, Any]) -> None:
    secrets = values["secrets"]
    writer = parse_secret(secrets["writer"])
    assert writer == golden.writer_secret() == parse_secret(secrets["grouped"])
    assert parse_link(secrets["link"]).secret == parse_secret(secrets["reader"])
    ids = {derive_keys(parse_secret(secrets[kind])).share_id for kind in ("writer", "reader", "store")}
    assert ids == {values["keys"]["share_id"]}


def test_old_content_is_opened(values: dict[str, Any]) -> None:
    keys = derive_keys(golden.writer_secret())
    assert keys.read is not None and keys.share_public is not None
    for chunk, plain in zip(values["chunks"], (b"", b"syncfs", golden.PLAIN[:100]), strict=True):
        data = bytes.fromhex(chunk["data"])
        check_address(Address(bytes.fromhex(chunk["address"])), data)
        assert Sealer(keys.read).open(ChunkId(bytes.fromhex(chunk["id"])), data) == plain
    assert open_segment(keys.read, bytes.fromhex(values["segment"]), b"public part") == b"records"
    journal = JournalCipher(golden.device().journal_key(bytes(16)))
    assert journal.open(bytes(12), bytes.fromhex(values["journal"]), b"offset") == b"extent"
    frames = FrameCipher(blake3(b"session"), rekey_frames=2)
    assert [frames.decrypt(bytes.fromhex(frame), b"length") for frame in values["frames"]] == [b"frame"] * 3


def test_old_signatures_are_accepted(values: dict[str, Any]) -> None:
    share_public = derive_keys(golden.writer_secret()).share_public
    assert share_public is not None
    verify(golden.device().public, golden.PLAIN, bytes.fromhex(values["device"]["signature"]), labels.SIGN_HEAD)
    for encoded in values["certificates"].values():
        verify_certificate(decode_certificate(bytes.fromhex(encoded)), share_public, golden.ISSUED)


def test_old_vault_is_opened(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "vault").write_bytes(bytes.fromhex(values["vault"]))
    vault = Vault.open(tmp_path / "vault", golden.fixed_random("unused"))
    assert vault.identity == golden.device()
    assert list(vault.shares) == ["photos", "zoo"]
    assert vault.shares["photos"].options == {"keep": "all"}
