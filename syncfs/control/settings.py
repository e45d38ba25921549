"""The settings of a share on one computer: their keys, what they mean, and what values they take.

A setting is a short text under a key, kept in the vault with the share. What is stored is the form that `check`
returns, so that whoever reads it needs no second parser. An empty value takes the setting away.
"""

from collections.abc import Callable
from dataclasses import dataclass

from syncfs.engine.keeping.retention import DEFAULT as DEFAULT_RETENTION
from syncfs.engine.keeping.retention import SETTING as RETENTION
from syncfs.engine.keeping.retention import parse_policy
from syncfs.engine.replication.brake import DEFAULT as DEFAULT_BRAKE
from syncfs.engine.replication.brake import SETTING as BRAKE
from syncfs.engine.replication.brake import parse_limits
from syncfs.model.errors import UsageError

SOURCES = ("lan",)
"""The discovery sources besides fixed peers; `none` stands for an empty list."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: what it says, what holds without it, and how a value is checked.

    A `shared` setting belongs to the share: it holds on all computers, and only a running share can change it.
    """

    key: str
    meaning: str
    default: str
    check: Callable[[str], str]
    shared: bool = False


def check_endpoint(text: str) -> str:
    """`HOST:PORT` or `[IPV6]:PORT`, as written by people; returns it tidied. Raises UsageError."""
    host, colon, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or (":" in host and not bracketed) or any(char.isspace() or char == "," for char in host):
        raise UsageError(f"'{text}' is no address: write HOST:PORT, or [IPV6]:PORT")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise UsageError(f"'{port}' in '{text}' is no port: write a number from 0 to 65535")
    return f"{host}:{int(port)}"


def check_peers(text: str) -> str:
    """Addresses of peers, parted by commas; returns them tidied, each once. Raises UsageError."""
    peers = [check_endpoint(part) for part in text.split(",") if part.strip()]
    if any(peer.endswith(":0") for peer in peers):
        raise UsageError("port 0 is nowhere that a peer can be reached: write the port that it listens on")
    return ",".join(dict.fromkeys(peers))


def check_discovery(text: str) -> str:
    """Discovery sources, parted by commas, or `none`; returns them tidied. Raises UsageError."""
    names = [part.strip().lower() for part in text.split(",") if part.strip()]
    if names == ["none"]:
        return "none"
    for name in names:
        if name not in SOURCES:
            raise UsageError(f"'{name}' is no way of discovery: choose from {', '.join(SOURCES)}, or none")
    if not names:
        raise UsageError(f"discovery needs a value: choose from {', '.join(SOURCES)}, or none")
    return ",".join(dict.fromkeys(names))


def check_retention(text: str) -> str:
    """For how long the past is kept; returns it tidied. Raises UsageError."""
    parse_policy(text)
    return " ".join(text.split())


def check_brake(text: str) -> str:
    """When changes of a peer are too many at once, or `off`; returns it tidied. Raises UsageError."""
    parse_limits(text)
    return " ".join(text.split())


SETTINGS: tuple[Setting, ...] = (
    Setting("listen", "address and port on which peers reach this computer", "[::]:0", check_endpoint),
    Setting("discovery", "how other peers are found, besides the fixed ones", "lan", check_discovery),
    Setting("peers", "addresses of peers that are always tried", "", check_peers),
    Setting(RETENTION, "how long the past is kept, on all computers", DEFAULT_RETENTION, check_retention, shared=True),
    Setting(BRAKE, "from what on changes of a peer wait for 'accept' or 'undo'", DEFAULT_BRAKE, check_brake),
)


def find_setting(key: str) -> Setting:
    """The setting of that key. Raises UsageError with the keys there are."""
    for setting in SETTINGS:
        if setting.key == key:
            return setting
    raise UsageError(f"there is no setting '{key}': choose from {', '.join(setting.key for setting in SETTINGS)}")


def check_setting(key: str, value: str) -> str:
    """The value as it is to be stored; empty to take the setting away. Raises UsageError."""
    setting = find_setting(key)
    return setting.check(value) if value.strip() else ""
