"""Making a share, and joining one: what is put into the home before anything runs."""

import dataclasses
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from syncfs.crypto.certificates import decode_certificate, encode_certificate, issue
from syncfs.crypto.identity import DeviceIdentity
from syncfs.crypto.keys import Role, ShareKeys, derive_keys, with_public
from syncfs.crypto.secrets import Secret, format_secret, is_link, new_writer_secret, parse_link, parse_secret
from syncfs.crypto.vault import Vault, VaultShare
from syncfs.engine.computer import Computer, this_computer
from syncfs.engine.feeds.feed import Feed
from syncfs.engine.keeping.retention import SETTING as RETENTION
from syncfs.engine.replication.holding import ARMED
from syncfs.engine.tree.owners import OwnerChoice, OwnerView
from syncfs.index.index import Index
from syncfs.model.errors import NameTakenError, SetupError
from syncfs.model.ids import ROOT_NODE
from syncfs.model.records import Birth, NodeRecord, Times


@dataclass(frozen=True, slots=True)
class Member:
    """A share of this home with everything that its keys and this device's papers give."""

    name: str
    keys: ShareKeys
    identity: DeviceIdentity
    certificate: bytes | None
    options: Mapping[str, str]
    directory: Path

    @property
    def may_write(self) -> bool:
        """Whether this device has a writer's certificate and can read what it changes."""
        if self.certificate is None or self.keys.read is None:
            return False
        return decode_certificate(self.certificate).role == Role.WRITER.value


def create_share(
    home: Path,
    name: str,
    options: Mapping[str, str],
    random: Callable[[int], bytes],
    computer: Computer | None = None,
) -> Member:
    """Make a new share with an empty root. Raises NameTakenError, SetupError."""
    on = dataclasses.replace(computer or this_computer(), random=random)
    vault = Vault.open(home / "vault", random)
    with (
        _entering(vault, home, name, new_writer_secret(random), options, on) as member,
        Index(member.directory / "index.db") as index,
    ):
        _write_root(index, member, on)
        index.feeds.set_number(ARMED, 1)
        index.database.commit()
    return member


def join_share(
    home: Path,
    text: str,
    name: str,
    peers: Sequence[str],
    options: Mapping[str, str],
    random: Callable[[int], bytes] = os.urandom,
    computer: Computer | None = None,
) -> Member:
    """Become a member by a secret or a link. Raises SecretError, NameTakenError, SetupError."""
    link = parse_link(text) if is_link(text) else None
    secret = link.secret if link is not None else parse_secret(text)
    all_peers = [*peers, *(link.peers if link is not None else ())]
    vault = Vault.open(home / "vault", random)
    wanted = dict(options)
    if all_peers:
        wanted["peers"] = ",".join(dict.fromkeys(all_peers))
    share_id = derive_keys(secret).share_id
    for known in vault.shares.values():
        if derive_keys(parse_secret(known.secret)).share_id == share_id:
            raise NameTakenError(f"this share is here already under the name '{known.name}': use that one")
    on = dataclasses.replace(computer or this_computer(), random=random)
    with _entering(vault, home, name, secret, wanted, on) as member, Index(member.directory / "index.db"):
        return member


def open_member(home: Path, name: str, random: Callable[[int], bytes] = os.urandom) -> Member:
    """The share of that name, as the vault has it. Raises UnknownShareError, SetupError, DamageError."""
    from syncfs.model.errors import UnknownShareError

    vault = Vault.open(home / "vault", random)
    share = vault.shares.get(name)
    if share is None:
        raise UnknownShareError(f"there is no share '{name}' here: 'syncfs list' shows those there are")
    return _member(vault, home, share)


def shared_settings(home: Path, name: str) -> dict[str, str]:
    """The settings of the whole share as last heard here, where nobody runs it. Raises SetupError, DamageError."""
    path = open_member(home, name).directory / "index.db"
    if not path.exists():
        return {}
    with Index(path) as index:
        kept = index.setting(RETENTION)
    return {RETENTION: kept} if kept else {}


def keep_learnt(home: Path, name: str, keys: ShareKeys, random: Callable[[int], bytes] = os.urandom) -> None:
    """Keep what a peer taught us of the share: its public key and, for readers, the salt."""
    from msgspec.structs import replace

    vault = Vault.open(home / "vault", random)
    share = vault.shares.get(name)
    if share is not None:
        vault.put_share(replace(share, share_public=keys.share_public, salt=keys.salt))


@contextmanager
def _entering(
    vault: Vault, home: Path, name: str, secret: Secret, options: Mapping[str, str], computer: Computer
) -> Iterator[Member]:
    """Make a share's directory, and enter the share into the vault once the block has filled it.

    In this order, for an entry without an index looks like a share that has lost it. On failure nothing stays.
    """
    keys = derive_keys(secret)
    certificate = None
    if keys.role is Role.WRITER:
        device, now = computer.name(), computer.seconds()
        issued = issue(keys, vault.identity.public, Role.WRITER, device, now, 0, computer.random)
        certificate = encode_certificate(issued)
    share = VaultShare(name, format_secret(secret), keys.share_public, keys.salt, certificate, dict(options))
    if name in vault.shares:
        raise NameTakenError(f"there is a share '{name}' here already: choose another name")
    directory = home / "shares" / keys.share_id
    is_new = not directory.exists()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"{directory} cannot be made ({error.strerror}): check the home and its disk") from error
    try:
        yield _member(vault, home, share)
        vault.put_share(share, replace=False)
    except BaseException:
        if is_new:
            shutil.rmtree(directory, ignore_errors=True)
        raise


def _member(vault: Vault, home: Path, share: VaultShare) -> Member:
    keys = derive_keys(parse_secret(share.secret))
    if share.share_public is not None:
        keys = with_public(keys, share.share_public, share.salt)
    directory = home / "shares" / keys.share_id
    return Member(share.name, keys, vault.identity, share.certificate, dict(share.options), directory)


def _write_root(index: Index, member: Member, computer: Computer) -> None:
    assert member.keys.read is not None
    feed = Feed(
        index,
        member.keys.read,
        member.identity,
        random=computer.random,
        wall=computer.wall,
        announce=lambda head, segments: None,
        changed=lambda: None,
    )
    now = feed.now()
    birth, owner = Birth(stat.S_IFDIR), OwnerView(OwnerChoice()).new(os.getuid(), os.getgid())
    feed.record([NodeRecord(feed.tick(), now, ROOT_NODE, birth, 0o755, owner, Times(now, now), {})])
    feed.commit()
