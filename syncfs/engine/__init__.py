"""Replication, fetch scheduling, publishing and the volume: what makes a share out of the layers below."""
