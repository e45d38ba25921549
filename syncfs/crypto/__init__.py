"""Keys, identity, sealing and the vault; the only importer of the cryptographic libraries."""
