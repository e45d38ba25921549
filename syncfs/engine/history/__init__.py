"""The past shown and put back: versions, old trees, the log, undo."""
