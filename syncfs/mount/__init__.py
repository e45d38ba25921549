"""The FUSE layer: handlers, errno table, kernel invalidation, mount and umount helpers."""
