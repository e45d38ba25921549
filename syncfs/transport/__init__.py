"""Bytes between peers: TCP and the in-memory network; the only importer of sockets."""
