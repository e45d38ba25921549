"""syncfs: a serverless, peer-to-peer, encrypted shared folder that mounts."""

__version__ = "0.1.0"
