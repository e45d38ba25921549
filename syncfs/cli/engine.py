"""Every call of the command line into the engine and the vault: one place where the two meet.

What the engine brings along is heavy, so it is loaded where it is called.
"""

import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from syncfs.cli.home import Home
from syncfs.control.service import ShareService
from syncfs.model.errors import RoleError, SetupError, UnknownShareError
from syncfs.model.reports import CheckReport, RoleName

if TYPE_CHECKING:
    from syncfs.cli.importing import TreeWriter
    from syncfs.crypto.vault import Vault, VaultShare
    from syncfs.engine.running import Mount
    from syncfs.mount.options import MountOptions


@dataclass(frozen=True, slots=True)
class MountPlan:
    """Where to mount and how; `source` is what the mount table is to show."""

    directory: str
    source: str
    options: "MountOptions"


@dataclass(frozen=True, slots=True)
class KnownShare:
    """A share of this home, as its vault knows it."""

    share: str
    name: str
    role: RoleName
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ShareSecrets:
    """The secrets of a share that may be handed on from here; None is what cannot be told from what we have."""

    read_write: str | None
    read_only: str | None
    store: str | None


def create_share(home: Home, name: str, settings: Mapping[str, str]) -> KnownShare:
    """Make a new share. Raises BusyError where the name is taken, SetupError."""
    from syncfs.engine.setup import create_share as create

    home.prepare()
    create(home.path, name, dict(settings), os.urandom)
    return known_share(home, name)


def join_share(home: Home, secret: str, name: str, settings: Mapping[str, str]) -> KnownShare:
    """Become a peer of a share; no peer has to be reachable yet. Raises SecretError, BusyError, SetupError."""
    from syncfs.engine.setup import join_share as join

    home.prepare()
    peers = [peer for peer in settings.get("peers", "").split(",") if peer]
    join(home.path, secret, name, peers, dict(settings))
    return known_share(home, name)


def known_shares(home: Home) -> list[KnownShare]:
    """All shares of a home, by name; none where there is no home yet. Raises SetupError, DamageError."""
    vault = _existing_vault(home)
    return [_known(share) for _, share in sorted(vault.shares.items())] if vault else []


def known_share(home: Home, name: str) -> KnownShare:
    """The share of that name. Raises UnknownShareError, SetupError, DamageError."""
    return _known(_kept(home, name)[1])


def require_mountable(known: KnownShare) -> None:
    """Raise RoleError where a share cannot be read here, so that there is nothing to mount."""
    if known.role == "store":
        raise RoleError(
            f"'{known.name}' was joined with a store's secret, which cannot read it: use 'syncfs serve {known.name}', "
            "or join with a reader's or writer's secret to mount it"
        )


def secrets_of_share(home: Home, name: str) -> ShareSecrets:
    """What may be handed on from here. Raises UnknownShareError."""
    from syncfs.crypto.keys import derive_keys, secrets_of, with_public
    from syncfs.crypto.secrets import format_secret, parse_secret

    share = _kept(home, name)[1]
    keys = derive_keys(parse_secret(share.secret))
    if share.share_public is not None:
        keys = with_public(keys, share.share_public, share.salt)
    found = secrets_of(keys)
    return ShareSecrets(
        format_secret(found.writer) if found.writer else None,
        format_secret(found.reader) if found.reader else None,
        format_secret(found.store) if found.store else None,
    )


def shared_settings(home: Home, name: str) -> dict[str, str]:
    """The settings of the whole share as last heard here, where nobody runs it. Raises SetupError, DamageError."""
    from syncfs.engine.setup import shared_settings as shared

    return shared(home.path, name)


def configure(home: Home, name: str, key: str, value: str) -> None:
    """Keep a setting of a share that does not run; an empty value takes it away. Raises UnknownShareError."""
    from msgspec.structs import replace

    vault, share = _kept(home, name)
    settings = {**share.options, key: value}
    vault.put_share(replace(share, options={kept: text for kept, text in settings.items() if text}))


def forget_share(home: Home, name: str) -> None:
    """Take a share's secret and data from this computer. Raises UnknownShareError, SetupError."""
    vault, share = _kept(home, name)
    directory = home.share(_known(share).share)
    # The secret goes last: without it, data that could not be deleted would be an unreadable leftover.
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise SetupError(f"{directory} cannot be deleted ({error.strerror}): allow it and try again") from error
    vault.remove_share(name)


def check_share(home: Home, name: str, repair: bool, rebuild: bool) -> CheckReport:
    """Check a share that does not run. Raises UnknownShareError, SetupError, DamageError, NewerFormatError."""
    from syncfs.engine.checking import check_share as check

    return check(home.path, name, repair=repair, rebuild=rebuild)


async def write_tree(home: Home, name: str, use: "Callable[[TreeWriter], Awaitable[None]]") -> None:
    """Open a share that nobody runs, without network and mount, for `use`, and return when all is durable."""
    from syncfs.engine.running import with_volume

    await with_volume(home.path, name, use)


async def run_share(
    home: Path, name: str, usable: Callable[[ShareService], Awaitable[None]], plan: MountPlan | None
) -> None:
    """Run a share until its service is told to stop or its mount ends; `usable` is awaited once it can be used."""
    from syncfs.engine import running

    await running.run_share(home, name, usable, _mounting(plan) if plan else None)


def _mounting(plan: MountPlan) -> "Mount":
    """What serves a volume as a mount, so that the engine need not know how."""
    from syncfs.cli.kernel_mount import KernelMount

    return KernelMount(plan.directory, plan.source, plan.options)


def _existing_vault(home: Home) -> "Vault | None":
    """The vault, unless there is none yet: asking for shares makes no home."""
    if not home.vault.exists():
        return None
    from syncfs.crypto.vault import Vault

    return Vault.open(home.vault, os.urandom)


def _kept(home: Home, name: str) -> "tuple[Vault, VaultShare]":
    vault = _existing_vault(home)
    if vault is None or name not in vault.shares:
        raise UnknownShareError(f"there is no share '{name}' here: 'syncfs list' shows those there are")
    return vault, vault.shares[name]


def _known(share: "VaultShare") -> KnownShare:
    from syncfs.crypto.keys import derive_keys
    from syncfs.crypto.secrets import parse_secret

    keys = derive_keys(parse_secret(share.secret))
    return KnownShare(keys.share_id, share.name, keys.role.value, dict(share.options))
