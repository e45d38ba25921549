"""The SQLite truth of a share; the only importer of sqlite_utils."""
