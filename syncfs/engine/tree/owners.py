"""Who owns a node on this computer: by number, by name where the name exists here, or always somebody given.

What is shown never changes what is recorded: whoever sets an owner to the one that is shown anyway, as `cp -p` does in
a mount where everything is his, changes nothing, and a node travels on with the owner it had.
"""

import grp
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from syncfs.index.index import Node
from syncfs.model.records import Owner

CACHED_NAMES = 256


@dataclass(frozen=True, slots=True)
class OwnerChoice:
    """How recorded owners are shown: by the names recorded with them, or by number; `uid` and `gid` for all if set."""

    by_name: bool = False
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class Accounts:
    """The users and groups of this computer; None for a name and "" for an id that nobody has."""

    user_id: Callable[[str], int | None]
    group_id: Callable[[str], int | None]
    user_name: Callable[[int], str]
    group_name: Callable[[int], str]


def local_accounts() -> Accounts:
    """The accounts as the system tells them, asked once for each name and id."""
    cached = lru_cache(CACHED_NAMES)
    return Accounts(cached(_user_id), cached(_group_id), cached(_user_name), cached(_group_name))


class OwnerView:
    """Translates between recorded owners and the ids of this computer."""

    def __init__(self, choice: OwnerChoice, accounts: Accounts | None = None) -> None:
        self._choice = choice
        self._accounts = accounts or local_accounts()

    def shown(self, node: Node) -> tuple[int, int]:
        """The (uid, gid) of a node here."""
        choice = self._choice
        uid: int | None = choice.uid
        gid: int | None = choice.gid
        if choice.by_name:
            if uid is None and node.user:
                uid = self._accounts.user_id(node.user)
            if gid is None and node.group:
                gid = self._accounts.group_id(node.group)
        return node.uid if uid is None else uid, node.gid if gid is None else gid

    def changed(self, node: Node, uid: int | None, gid: int | None) -> Owner:
        """What to record when owner or group of a node are set to ids of this computer; None leaves one as it is."""
        shown = self.shown(node)
        user, group, new_uid, new_gid = node.user, node.group, node.uid, node.gid
        if uid is not None and uid != shown[0]:
            new_uid, user = uid, self._accounts.user_name(uid)
        if gid is not None and gid != shown[1]:
            new_gid, group = gid, self._accounts.group_name(gid)
        return Owner(new_uid, new_gid, user, group)

    def new(self, uid: int, gid: int) -> Owner:
        """What to record of a node that somebody of this computer makes."""
        return Owner(uid, gid, self._accounts.user_name(uid), self._accounts.group_name(gid))


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""


def _user_id(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
