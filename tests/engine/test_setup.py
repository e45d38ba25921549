"""A share whose making fails leaves nothing behind."""

import os
import sqlite3
from pathlib import Path

import pytest

from syncfs.crypto.secrets import format_secret, new_writer_secret
from syncfs.crypto.vault import Vault
from syncfs.engine import setup
from syncfs.engine.setup import create_share, join_share
from syncfs.index.database import IndexDatabase
from syncfs.model.errors import SetupError


def refuse(*words: object, **options: object) -> None:
    raise SetupError("the disk is full")


def what_is_in(home: Path) -> tuple[list[str], list[Path]]:
    return list(Vault.open(home / "vault", os.urandom).shares), list((home / "shares").iterdir())


@pytest.mark.parametrize("step", ["syncfs.engine.setup._write_root", "syncfs.crypto.vault.Vault.put_share"])
def test_a_share_that_cannot_be_made_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    with monkeypatch.context() as refusing, pytest.raises(SetupError, match="full"):
        refusing.setattr(step, refuse)
        create_share(tmp_path, "s", {}, os.urandom)
    assert what_is_in(tmp_path) == ([], [])
    create_share(tmp_path, "s", {}, os.urandom)


@pytest.mark.parametrize("step", ["syncfs.index.index.IndexDatabase", "syncfs.crypto.vault.Vault.put_share"])
def test_a_share_that_cannot_be_joined_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    secret = format_secret(new_writer_secret(os.urandom))
    with monkeypatch.context() as refusing, pytest.raises(SetupError, match="full"):
        refusing.setattr(step, refuse)
        join_share(tmp_path, secret, "s", [], {})
    assert what_is_in(tmp_path) == ([], [])
    join_share(tmp_path, secret, "s", [], {})


def test_what_was_there_before_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory whose entry the vault has lost may be all that is left of a share."""
    secret = format_secret(new_writer_secret(os.urandom))
    join_share(tmp_path, secret, "s", [], {})
    Vault.open(tmp_path / "vault", os.urandom).remove_share("s")
    with monkeypatch.context() as refusing, pytest.raises(SetupError, match="full"):
        refusing.setattr(setup, "Index", refuse)
        join_share(tmp_path, secret, "s", [], {})
    shares, (directory,) = what_is_in(tmp_path)
    assert shares == [] and (directory / "index.db").exists()


def test_a_disk_without_room_for_the_tables_is_told_as_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA max_page_count = 4")
        return connection

    monkeypatch.setattr("syncfs.index.database._connect", connect)
    with pytest.raises(SetupError, match="is full: free some space"):
        IndexDatabase(tmp_path / "index.db")
