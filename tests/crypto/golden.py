"""The golden values: every derivation and every format from one fixed seed.

`python -m tests.crypto.golden` writes them anew. They were made once; a difference is a change of format, which old
homes and other peers cannot read, so it needs a new version of that format and stays beside the old values.
"""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from syncfs.crypto import labels
from syncfs.crypto.certificates import encode_certificate, issue
from syncfs.crypto.frames import FrameCipher
from syncfs.crypto.hashing import blake3, derive, keyed_blake3
from syncfs.crypto.identity import DeviceIdentity, new_identity
from syncfs.crypto.keys import ReadKeys, Role, ShareKeys, derive_keys, sealed_salt, secrets_of
from syncfs.crypto.sealing import JournalCipher, Sealer, seal_segment
from syncfs.crypto.secrets import (
    JoinLink,
    Kind,
    Secret,
    format_link,
    format_secret,
    group_secret,
    new_invitation_secret,
    new_writer_secret,
)
from syncfs.crypto.vault import Vault, VaultShare

PATH = Path(__file__).with_name("golden.json")
SEED = b"syncfs golden values, not a secret"
ISSUED = 1_700_000_000
PLAIN = bytes(range(256)) * 20


def fixed_random(name: str) -> Callable[[int], bytes]:
    """A source of bytes that gives the same ones for the same name."""
    return lambda size: keyed_blake3(blake3(SEED), name.encode())[:size]


def writer_secret() -> Secret:
    """The writer's secret of the golden share."""
    return new_writer_secret(fixed_random("writer"))


def device() -> DeviceIdentity:
    """The golden device."""
    return new_identity(fixed_random("device"))


def compute(directory: Path) -> dict[str, Any]:
    """All golden values, bytes as hexadecimal; `directory` must not exist, a vault is made in it."""
    keys = derive_keys(writer_secret())
    secrets = secrets_of(keys)
    assert secrets.reader is not None and secrets.store is not None and keys.read is not None
    assert keys.share_public is not None
    sealer = Sealer(keys.read)
    texts = {
        "writer": format_secret(writer_secret()),
        "reader": format_secret(secrets.reader),
        "store": format_secret(secrets.store),
        "invitation": format_secret(new_invitation_secret(fixed_random("invitation"))),
    }
    return {
        "labels": {name: value for name, value in vars(labels).items() if name.startswith(("DERIVE_", "SIGN_"))},
        "hashing": {
            "blake3": blake3(PLAIN).hex(),
            "keyed_blake3": keyed_blake3(blake3(b""), PLAIN).hex(),
            "derive_40": derive(PLAIN, labels.DERIVE_PSK0, 40).hex(),
        },
        "secrets": texts
        | {
            "grouped": group_secret(texts["writer"]),
            "all_zero": format_secret(Secret(Kind.WRITER, bytes(17))),
            "link": format_link(JoinLink(secrets.reader, "Fotos & mehr", ("192.0.2.7:4711", "[2001:db8::1]:4711"))),
        },
        "keys": _keys(keys),
        "sealed_salt": _hex(sealed_salt(keys)),
        "device": {
            "seed": device().seed.hex(),
            "public": device().public.hex(),
            "id": device().id.hex(),
            "noise_static": device().noise_static.hex(),
            "noise_public": device().noise_public.hex(),
            "signature": device().sign(PLAIN, labels.SIGN_HEAD).hex(),
            "journal_key": device().journal_key(bytes(16)).hex(),
        },
        "certificates": {
            "for_ever": encode_certificate(
                issue(keys, device().public, Role.WRITER, "Lüfter", ISSUED, 0, fixed_random("serial"))
            ).hex(),
            "for_a_day": encode_certificate(
                issue(keys, device().public, Role.READER, "tablet", ISSUED, ISSUED + 86400, fixed_random("serial"))
            ).hex(),
        },
        "chunks": [
            {"size": len(plain), "id": sealed.id.hex(), "address": sealed.address.hex(), "data": sealed.data.hex()}
            for plain in (b"", b"syncfs", PLAIN[:100])
            for sealed in [sealer.seal(plain)]
        ],
        "segment": seal_segment(keys.read, fixed_random("nonce")(24), b"records", b"public part").hex(),
        "journal": JournalCipher(device().journal_key(bytes(16))).seal(bytes(12), b"extent", b"offset").hex(),
        "frames": _frames(),
        "vault": _vault(directory, texts["reader"], keys.share_public).hex(),
    }


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _keys(keys: ShareKeys) -> dict[str, str | None]:
    values: dict[str, str | None] = {"role": keys.role.value, "share_id": keys.share_id}
    for field in fields(keys):
        value = getattr(keys, field.name)
        if isinstance(value, bytes):
            values[field.name] = value.hex()
    assert isinstance(keys.read, ReadKeys)
    return values | {f"read.{field.name}": getattr(keys.read, field.name).hex() for field in fields(keys.read)}


def _frames() -> list[str]:
    cipher = FrameCipher(blake3(b"session"), rekey_frames=2)
    return [cipher.encrypt(b"frame", b"length").hex() for _ in range(3)]


def _vault(directory: Path, secret: str, share_public: bytes) -> bytes:
    vault = Vault.open(directory / "vault", fixed_random("device"))
    vault.put_share(VaultShare("zoo", "later"))
    vault.put_share(VaultShare("photos", secret, share_public, bytes(16), b"certificate", {"keep": "all"}))
    return (directory / "vault").read_bytes()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        PATH.write_text(json.dumps(compute(Path(place)), indent=1, ensure_ascii=False) + "\n")
