"""Every label that separates one use of a key from another.

A label is never changed and never used twice: whoever needs another derivation adds a line here. DERIVE labels are
BLAKE3 derive-key contexts, SIGN labels stand before what an Ed25519 key signs (`label ‖ 0 ‖ data`). The tree of
derivations is drawn in docs/formats/secrets.md.
"""

from typing import Final

# From a writer's secret.
DERIVE_SHARE_SIGNING_KEY: Final = "syncfs v1 writer secret: share signing key"
DERIVE_COMMITMENT_SALT: Final = "syncfs v1 writer secret: commitment salt"

# From the share's public key; the first one also takes the salt, which no store may learn.
DERIVE_READER_SECRET: Final = "syncfs v1 public key and salt: reader secret"
DERIVE_FINGERPRINT: Final = "syncfs v1 public key: fingerprint"

# From a reader's secret.
DERIVE_STORE_SECRET: Final = "syncfs v1 reader secret: store secret"
DERIVE_CHUNK_ID_KEY: Final = "syncfs v1 reader secret: chunk id key"
DERIVE_CHUNK_KEY: Final = "syncfs v1 reader secret: chunk key"
DERIVE_SEGMENT_KEY: Final = "syncfs v1 reader secret: segment key"
DERIVE_READER_PROOF_KEY: Final = "syncfs v1 reader secret: proof of reading"
DERIVE_SALT_SEAL_KEY: Final = "syncfs v1 reader secret: seal of the commitment salt"

# From a store's secret.
DERIVE_PSK0: Final = "syncfs v1 store secret: noise psk0"
DERIVE_PSK3: Final = "syncfs v1 store secret: noise psk3"
DERIVE_RENDEZVOUS_KEY: Final = "syncfs v1 store secret: rendezvous"
DERIVE_STORE_PROOF_KEY: Final = "syncfs v1 store secret: proof of membership"
DERIVE_SHARE_ID: Final = "syncfs v1 store secret: share id"

# From a device's seed.
DERIVE_DEVICE_NOISE_KEY: Final = "syncfs v1 device seed: noise static key"
DERIVE_DEVICE_JOURNAL_KEY: Final = "syncfs v1 device seed: journal key"

# What is signed.
SIGN_HELLO: Final = "syncfs v1 sign: handshake hash"
SIGN_HEAD: Final = "syncfs v1 sign: head"
SIGN_CERTIFICATE: Final = "syncfs v1 sign: certificate"
