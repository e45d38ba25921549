"""The vault keeps what it was given, through crashes and beside other processes, and says what is wrong with it."""

import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncfs.crypto import vault as module
from syncfs.crypto.vault import MAGIC, Vault, VaultShare
from syncfs.model.errors import DamageError, HomeError, NameTakenError, NewerFormatError, UnknownShareError

SHARE = VaultShare("photos", "WSECRET", b"p" * 32, b"s" * 16, b"certificate", {"keep": "all"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "home" / "vault"


def fixed(size: int) -> bytes:
    return b"d" * size


def test_first_use_makes_a_device(path: Path) -> None:
    made = Vault.open(path, os.urandom)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    again = Vault.open(path, os.urandom)
    assert again.identity == made.identity
    assert not again.shares
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["vault", "vault.lock"]


def test_shares_are_kept_changed_and_forgotten(path: Path) -> None:
    vault = Vault.open(path, fixed)
    vault.put_share(SHARE)
    assert dict(Vault.open(path, fixed).shares) == {"photos": SHARE} == dict(vault.shares)
    vault.put_share(VaultShare("photos", "WOTHER"))
    assert Vault.open(path, fixed).shares["photos"].secret == "WOTHER"
    with pytest.raises(NameTakenError, match="another name"):
        vault.put_share(SHARE, replace=False)
    vault.remove_share("photos")
    assert not Vault.open(path, fixed).shares
    with pytest.raises(UnknownShareError, match="photos"):
        vault.remove_share("photos")


def test_a_lax_mode_is_tightened(path: Path) -> None:
    Vault.open(path, fixed)
    path.chmod(0o644)
    Vault.open(path, fixed)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_changes_of_other_processes_are_kept(path: Path) -> None:
    one, two = Vault.open(path, fixed), Vault.open(path, fixed)
    one.put_share(SHARE)
    two.put_share(VaultShare("music", "R"))
    assert list(two.shares) == ["music", "photos"]
    assert list(one.shares) == ["photos"]
    one.reload()
    assert list(one.shares) == ["music", "photos"]


def test_many_at_once_lose_nothing(path: Path) -> None:
    def work(number: int) -> None:
        Vault.open(path, os.urandom).put_share(VaultShare(f"share {number}", "W"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Vault.open(path, fixed).shares) == 8


def test_a_crash_before_the_rename_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = Vault.open(path, fixed)
    vault.put_share(SHARE)

    def crash(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", crash)
        with pytest.raises(HomeError, match="No space left"):
            vault.remove_share("photos")
    assert list(vault.shares) == ["photos"] == list(Vault.open(path, fixed).shares)
    vault.remove_share("photos")
    assert not Vault.open(path, fixed).shares


@given(st.data())
def test_every_damaged_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("home") / "vault"
    Vault.open(path, fixed).put_share(SHARE)
    whole = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    path.write_bytes(whole)
    with pytest.raises(DamageError):
        Vault.open(path, fixed)
    assert path.read_bytes() == whole


def test_newer_formats_are_told_apart(path: Path) -> None:
    Vault.open(path, fixed)
    whole = bytearray(path.read_bytes())
    for place in (len(MAGIC), len(MAGIC) + 1):
        newer = bytearray(whole)
        newer[place] += 1
        path.write_bytes(newer)
        with pytest.raises(NewerFormatError, match="newer syncfs"):
            Vault.open(path, fixed)


def test_unusable_homes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HomeError, match="SYNCFS_HOME"):
        Vault.open(tmp_path / "file" / "vault", fixed)
    (tmp_path / "vault").mkdir()
    with pytest.raises(HomeError, match="SYNCFS_HOME"):
        Vault.open(tmp_path / "vault", fixed)
    vault = Vault.open(tmp_path / "home" / "vault", fixed)
    (tmp_path / "home" / "vault").unlink()
    with pytest.raises(DamageError, match="vanished"):
        vault.put_share(SHARE)


def test_forbidden_home(path: Path) -> None:
    Vault.open(path, fixed)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read everything; nobody may not
    try:
        with pytest.raises(HomeError, match="user who owns it"):
            Vault.open(path, fixed)
    finally:
        os.seteuid(user)


def test_secrets_do_not_show_in_logs() -> None:
    assert "WSECRET" not in repr(SHARE)
