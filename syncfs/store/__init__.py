"""Chunk stores: sealed bytes by address, on disk or in memory."""
