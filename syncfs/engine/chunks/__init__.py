"""Chunks as plaintext and the content of versions: from memory, from the store, or from peers."""
