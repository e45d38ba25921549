"""Getting into a share and out of it: create, join, secret, leave."""

import os
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncfs.cli import engine, show
from syncfs.cli.home import Home, check_share_name, this_home
from syncfs.cli.options import command, network_options, settings_of
from syncfs.cli.running import RunRecord, claim, running_share
from syncfs.cli.signals import Ending
from syncfs.control.settings import check_peers
from syncfs.crypto.secrets import (
    JoinLink,
    Kind,
    format_link,
    format_secret,
    group_secret,
    is_link,
    parse_link,
    parse_secret,
)
from syncfs.model.errors import BusyError, SecretError, SetupError, UsageError

if TYPE_CHECKING:
    from syncfs.cli.importing import Progress, TreeWriter

_LABELS = (("read_write", "read and write"), ("read_only", "read only"), ("store", "store only"))


@command(
    "create",
    example="$ syncfs create photos --from ~/Pictures\n$ syncfs create work --listen 0.0.0.0:4000 --discovery none",
)
@click.argument("name")
@click.option(
    "--from", "source", metavar="DIR", type=click.Path(path_type=Path), help="Begin with a copy of this tree."
)
@network_options
def create_command(
    name: str, source: Path | None, peers: str, listen: str | None, discovery: str | None, as_json: bool
) -> None:
    """Create a share and show its secrets."""
    home = this_home()
    check_share_name(name)
    source = source.resolve() if source else None
    count = _count(home, source) if source else None
    _require_new(home, name)
    known = engine.create_share(home, name, settings_of(peers, listen, discovery))
    imported = None
    if source is not None and count is not None:
        try:
            imported = _import(home, known, source, count, as_json)
        except BaseException:
            engine.forget_share(home, name)  # nobody else has it yet, and half a tree helps nobody
            raise
    secrets = engine.secrets_of_share(home, name)
    texts = {key: getattr(secrets, key) for key, _ in _LABELS}
    if as_json:
        show.put_json(
            {"share": known.share, "name": name, "secrets": texts, **({"imported": imported} if imported else {})}
        )
        return
    if imported:
        show.put(f"Imported {show.amount(imported['entries'], 'entry', 'entries')}, {show.size(imported['bytes'])}.")
    show.put(f"Created '{name}'. These secrets give access to it:\n")
    show.put(show.fields((f"  {label}", group_secret(texts[key] or show.NOTHING)) for key, label in _LABELS))
    show.put(f"\nMount it here:           syncfs mount {name} DIR")
    show.put(f"On another computer:     syncfs join SECRET {name}")


@command("join", example="$ syncfs join WAAA-BBBB-… photos --peer 192.0.2.7:4000\n$ syncfs join 'syncfs://join/…'")
@click.argument("secret")
@click.argument("name", required=False)
@network_options
def join_command(
    secret: str, name: str | None, peers: str, listen: str | None, discovery: str | None, as_json: bool
) -> None:
    """Join a share by its secret or link.

    It is called NAME on this computer, or as the link says. With '-' the secret is read from standard input, so that
    no list of processes shows it.
    """
    home = this_home()
    if secret == "-":
        secret = sys.stdin.readline(4096)
    link = parse_link(secret) if is_link(secret) else JoinLink(parse_secret(secret))
    if link.secret.kind is Kind.INVITATION:
        raise SecretError("this syncfs cannot redeem invitations: ask for a secret of the share instead")
    settings = settings_of(",".join(filter(None, [peers, _peers_of(link)])), listen, discovery)
    text = format_secret(link.secret)
    known = engine.join_share(home, text, check_share_name(name or link.name or _name_for(text)), settings)
    if as_json:
        show.put_json({"share": known.share, "name": known.name, "role": known.role})
        return
    show.put(f"Joined '{known.name}' as {known.role}.")
    if known.role == "store":
        show.put(f"Keep it here:  syncfs serve {known.name}")
    else:
        show.put(f"Mount it:  syncfs mount {known.name} DIR")


@command("secret", example="$ syncfs secret photos --reader --qr")
@click.argument("name")
@click.option("--reader", is_flag=True, help="The secret that allows to read only.")
@click.option("--store", is_flag=True, help="The secret that allows to keep a copy without reading it.")
@click.option("--qr", is_flag=True, help="Show the link as a QR code as well.")
def secret_command(name: str, reader: bool, store: bool, qr: bool, as_json: bool) -> None:
    """Show a secret of the share NAME.

    Without an option the one that allows most of those known here. Whoever has it can join.
    """
    if reader and store:
        raise UsageError("choose --reader or --store, not both")
    home = this_home()
    known, secrets = engine.known_share(home, name), engine.secrets_of_share(home, name)
    if lack := home.lack_of(known.share, name):
        raise SetupError(lack)
    wanted = [key for key, _ in _LABELS if (not reader or key == "read_only") and (not store or key == "store")]
    kind = next((key for key in wanted if getattr(secrets, key)), None)
    if kind is None:
        raise SecretError(
            f"this secret of '{name}' cannot be told here yet: it joined as {known.role} "
            + ("and has met no peer so far" if known.role == "reader" else "and knows no more than that")
        )
    text: str = getattr(secrets, kind)
    link = format_link(JoinLink(parse_secret(text), name, _reachable(known.settings.get("listen", ""))))
    if as_json:
        show.put_json({"share": known.share, "name": name, "kind": kind, "secret": text, "link": link})
        return
    show.put(group_secret(text))
    show.put(link)
    if qr:
        import segno

        segno.make(link).terminal(out=sys.stdout, compact=True)


@command("leave", example="$ syncfs leave photos")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def leave_command(name: str, yes: bool, as_json: bool) -> None:
    """Leave the share NAME.

    Takes its secret and all that was kept of it from this computer. What other devices have stays theirs.
    """
    home = this_home()
    known = engine.known_share(home, name)
    if (record := running_share(home, name)) is not None:
        raise BusyError(f"{record.sentence}: end it first with 'syncfs umount {name}'")
    if not yes:
        _confirm(home, known, as_json)
    home.prepare()
    record = RunRecord(known.share, name, os.getpid(), "leave", str(home.path), None, datetime.now(UTC))
    with claim(home, record):
        engine.forget_share(home, name)
    if as_json:
        show.put_json({"share": known.share, "name": name})
    else:
        show.put(f"Left '{name}'. The other devices keep theirs, and this device keeps its identity and its log.")


def _confirm(home: Home, known: engine.KnownShare, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise UsageError(f"leaving '{known.name}' deletes what is here of it: say --yes to do it without being asked")
    click.echo(
        f"Leaving '{known.name}' deletes its secret and {home.share(known.share)} from this computer.\n"
        "What no other device has yet is lost with it, and without its secret nobody can join the share again;\n"
        f"'syncfs status {known.name}' and 'syncfs secret {known.name}' show both. What other devices have is kept.",
        err=True,
    )
    if not click.confirm("Leave it?", err=True):
        raise UsageError("nothing was changed")


def _require_new(home: Home, name: str) -> None:
    """A name that is taken is an error in any case; where what has it is of no use, another one is told."""
    for known in engine.known_shares(home):
        lack = home.lack_of(known.share, name) if known.name == name else None
        if lack is not None and running_share(home, name) is None:
            raise SetupError(lack)


def _count(home: Home, source: Path) -> "Progress":
    from syncfs.cli.importing import count_tree

    return count_tree(source, home.path.resolve())


def _import(home: Home, known: engine.KnownShare, source: Path, count: "Progress", quiet: bool) -> dict[str, int]:
    import trio

    from syncfs.cli.importing import import_tree
    from syncfs.cli.progress import bar

    ending = click.get_current_context().find_object(Ending) or Ending()
    record = RunRecord(known.share, known.name, os.getpid(), "create", str(home.path), None, datetime.now(UTC))
    with claim(home, record), bar(f"importing {show.plain(source.name)}", quiet) as picture:

        def report(now: "Progress") -> None:
            picture.update(now.bytes, now.total_bytes)

        async def use(volume: "TreeWriter") -> None:
            # Not around the share as well, whose own tasks are needed to close it.
            await ending.interruptible(partial(import_tree, volume, source, home.path.resolve(), count, report))

        mark = home.unfinished(known.share)
        _make_durably(mark)
        trio.run(engine.write_tree, home, known.name, use)
        mark.unlink()
    return {"entries": count.entries, "bytes": count.bytes, "lost_attributes": count.lost_attributes}


def _make_durably(mark: Path) -> None:
    try:
        mark.touch()
        directory = os.open(mark.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise SetupError(f"{mark} cannot be written ({error.strerror}): free some space, or check the disk") from error


def _peers_of(link: JoinLink) -> str:
    return check_peers(",".join(link.peers))


def _name_for(secret: str) -> str:
    from syncfs.crypto.keys import derive_keys

    return f"share-{derive_keys(parse_secret(secret)).share_id[:6]}"


def _reachable(listen: str) -> tuple[str, ...]:
    """The address to hand on, where the share listens at one that others can use."""
    host = listen.rpartition(":")[0].strip("[]")
    nowhere = not host or host in ("0.0.0.0", "::", "::1", "localhost") or host.startswith("127.")
    return () if nowhere or listen.endswith(":0") else (listen,)
