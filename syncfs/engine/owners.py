"""Who owns a node on this computer: by number, by name where the name exists here, or always the mounting user.

What is shown never changes what is recorded: a node that is not chowned here travels on with the owner it had.
"""

import grp
import pwd
from collections.abc import Callable
from enum import Enum
from functools import lru_cache

from syncfs.index.index import Node
from syncfs.model.records import Owner

CACHED_NAMES = 256


class OwnerMode(Enum):
    """How recorded owners are shown."""

    IDS = "ids"
    NAMES = "names"
    ME = "me"


class OwnerView:
    """Translates between recorded owners and the ids of this computer."""

    def __init__(
        self,
        mode: OwnerMode,
        me: tuple[int, int],
        *,
        user_id: Callable[[str], int | None] | None = None,
        group_id: Callable[[str], int | None] | None = None,
    ) -> None:
        self._mode = mode
        self._me = me
        self._user_id = user_id or _user_id
        self._group_id = group_id or _group_id
        self._users: dict[str, int | None] = {}
        self._groups: dict[str, int | None] = {}
        self._user_name = lru_cache(CACHED_NAMES)(_user_name)
        self._group_name = lru_cache(CACHED_NAMES)(_group_name)

    def shown(self, node: Node) -> tuple[int, int]:
        """The (uid, gid) of a node here."""
        if self._mode is OwnerMode.IDS:
            return node.uid, node.gid
        if self._mode is OwnerMode.ME:
            return self._me
        if node.user not in self._users:
            self._users[node.user] = self._user_id(node.user) if node.user else None
        if node.group not in self._groups:
            self._groups[node.group] = self._group_id(node.group) if node.group else None
        uid, gid = self._users[node.user], self._groups[node.group]
        return node.uid if uid is None else uid, node.gid if gid is None else gid

    def recorded(self, old: Owner, uid: int | None, gid: int | None) -> Owner:
        """What to record when the owner or group is set to an id of this computer; None leaves one as it is."""
        user, group = old.user, old.group
        new_uid, new_gid = old.uid, old.gid
        if uid is not None:
            new_uid, user = uid, self._user_name(uid)
        if gid is not None:
            new_gid, group = gid, self._group_name(gid)
        return Owner(new_uid, new_gid, user, group)


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
