"""Looking at shares: list, status, peers, transfers."""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime

import click
import msgspec

from syncfs.cli import engine, show
from syncfs.cli.asking import ask, ask_record, calling, require_running
from syncfs.cli.home import Home, this_home
from syncfs.cli.options import command
from syncfs.cli.running import RunRecord, running_shares
from syncfs.control.client import ANSWER_SECONDS
from syncfs.control.commands import PEERS, STATUS, TRANSFERS, Nothing, TransfersArguments
from syncfs.model.errors import SilentError, UnavailableError, UsageError
from syncfs.model.reports import ShareStatus, TransferReport

LOOK_SECONDS = 5.0
"""`status` asks for what a share knows, and is there to tell of one that does not answer."""
_CLEAR = "\x1b[H\x1b[J"


@command("list", example="$ syncfs list")
def list_command(as_json: bool) -> None:
    """List the shares of this computer."""
    home = this_home()
    running = {record.share: record for record in running_shares(home)}
    shares = engine.known_shares(home)
    if as_json:
        show.put_json([_listed(home, known, running.get(known.share)) for known in shares])
    elif not shares:
        show.put("There are no shares here yet: 'syncfs create NAME' makes one, 'syncfs join SECRET' joins one.")
    else:
        rows = [
            (known.name, known.role, _state(home, known, record), _where(record), known.share)
            for known in shares
            for record in [running.get(known.share)]
        ]
        show.put(show.table(("NAME", "ROLE", "STATE", "MOUNTED AT", "SHARE"), rows))


@command("status", example="$ syncfs status photos")
@click.argument("name", required=False)
def status_command(name: str | None, as_json: bool) -> None:
    """Show how a share, or every share, is doing."""
    home = this_home()
    running = {record.share: record for record in running_shares(home)}
    shares = engine.known_shares(home) if name is None else [engine.known_share(home, name)]
    found = [_status(home, known, running.get(known.share)) for known in shares]
    if as_json:
        show.put_json(found if name is None else found[0])
    elif name is not None:
        show.put(_described(found[0]))
    elif not found:
        show.put("There are no shares here yet: 'syncfs create NAME' makes one, 'syncfs join SECRET' joins one.")
    else:
        head = ("NAME", "STATE", "IN SYNC", "PEERS", "FILES", "SIZE", "HERE", "PENDING", "DOWN", "UP", "MOUNTED AT")
        show.put(show.table(head, map(_status_row, found), right=range(3, 10)))
        for status in found:
            for reason in status.reasons:
                show.put(show.plain(f"{status.name}: {reason}"))


@command("peers", example="$ syncfs peers photos")
@click.argument("name")
def peers_command(name: str, as_json: bool) -> None:
    """Show the peers of a share and how each is reached."""
    peers = ask(this_home(), name, PEERS, Nothing())
    if as_json:
        show.put_json(peers)
        return
    if not peers:
        show.put(f"'{name}' has met no peer yet.")
        return
    rows = [
        (
            peer.name or peer.device[:8],
            peer.role,
            "connected" if peer.connected else "away",
            peer.path or "",
            peer.address or "",
            {True: "yes", False: "no", None: ""}[peer.in_sync],
            show.rate(peer.rates.down),
            show.rate(peer.rates.up),
            "" if peer.latency is None else f"{peer.latency * 1000:.1f} ms",
            "now" if peer.connected else show.time(peer.seen),
        )
        for peer in peers
    ]
    head = ("NAME", "ROLE", "STATE", "PATH", "ADDRESS", "IN SYNC", "DOWN", "UP", "LATENCY", "SEEN")
    show.put(show.table(head, rows, right=(6, 7, 8)))


@command("transfers", example="$ syncfs transfers photos --watch")
@click.argument("name", required=False)
@click.option("--watch", is_flag=True, help="Go on showing them until interrupted; with --json one line each time.")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Time between two looks.",
)
def transfers_command(name: str | None, watch: bool, interval: float, as_json: bool) -> None:
    """Show what is moving now, in NAME or everywhere."""
    home = this_home()
    if watch:
        record = require_running(home, name) if name else _only_one(home)
        with calling(record) as client:
            arguments = TransfersArguments(watch=True, interval=interval)
            for report in client.stream(TRANSFERS, arguments, interval + ANSWER_SECONDS):
                _show_watched(report, as_json)
        return
    records = [require_running(home, name)] if name else running_shares(home)
    reports = [ask(home, record.name, TRANSFERS, TransfersArguments()) for record in records]
    if as_json:
        show.put_json(reports if name is None else reports[0])
    elif not reports:
        show.put("No share is running.")
    else:
        show.put("\n\n".join(map(_moving, reports)))


def _only_one(home: Home) -> RunRecord:
    records = running_shares(home)
    if not records:
        raise UnavailableError("no share is running: start one with 'syncfs mount NAME DIR'")
    if len(records) > 1:
        raise UsageError(f"say which share to watch: {', '.join(record.name for record in records)}")
    return records[0]


def _show_watched(report: TransferReport, as_json: bool) -> None:
    if as_json:
        show.put_json_line(report)
        return
    if sys.stdout.isatty():
        sys.stdout.write(_CLEAR)
    show.put(_moving(report))
    sys.stdout.flush()


def _moving(report: TransferReport) -> str:
    held = "".join(
        f"\n{show.plain(one.name)} changed {one.changed:,} of {one.files:,} files at once: its changes wait"
        for one in report.held
    )
    line = f"{report.name}  down {show.rate(report.rates.down)}  up {show.rate(report.rates.up)}{held}"
    if not report.transfers:
        return f"{line}\nNothing is moving."
    rows = [
        (
            {"down": "from", "up": "to"}[transfer.direction],
            transfer.peer or "",
            transfer.what,
            show.size(transfer.done) + (f" of {show.size(transfer.total)}" if transfer.total is not None else ""),
            show.rate(transfer.rate),
            transfer.path or "",
        )
        for transfer in report.transfers
    ]
    return line + "\n" + show.table(("", "PEER", "WHAT", "DONE", "RATE", "PATH"), rows, right=(3, 4))


def _status(home: Home, known: engine.KnownShare, record: RunRecord | None) -> ShareStatus:
    """What a share says of itself, or what can be said of one that does not run."""
    stopped = ShareStatus(known.share, known.name, known.role, "stopped", listen=known.settings.get("listen"))
    if record is None:
        lack = home.lack_of(known.share, known.name)
        return msgspec.structs.replace(stopped, reasons=[lack] if lack else [])
    try:
        told = ask_record(record, STATUS, Nothing(), LOOK_SECONDS)
        return msgspec.structs.replace(told, mountpoint=record.place)  # it does not know of a lazy unmount
    except SilentError as error:
        return msgspec.structs.replace(
            stopped, state="silent", reasons=[str(error)], pid=record.pid, mountpoint=record.place
        )
    except UnavailableError as error:
        doing = "it is starting or ending" if record.purpose in ("mount", "serve") else record.sentence
        return msgspec.structs.replace(
            stopped,
            state="waiting",
            reasons=[f"{doing} (process {record.pid}): {error}"],
            pid=record.pid,
            mountpoint=record.place,
        )


def _status_row(status: ShareStatus) -> tuple[str, ...]:
    return (
        status.name,
        status.state,
        _answer(status.in_sync),
        str(status.peers) if status.state != "stopped" else "",
        "" if status.files is None else f"{status.files:,}",
        show.size(status.bytes),
        show.size(status.cached_bytes),
        show.size(status.pending_bytes),
        show.rate(status.rates.down),
        show.rate(status.rates.up),
        status.mountpoint or "",
    )


def _described(status: ShareStatus) -> str:
    since = f", for {show.duration((datetime.now(UTC) - status.since).total_seconds())}" if status.since else ""
    pairs: Iterable[tuple[str, str | None]] = (
        ("name", status.name),
        ("state", status.state + since),
        *(("reason", reason) for reason in status.reasons),
        ("role", status.role),
        ("mounted at", status.mountpoint),
        ("process", str(status.pid) if status.pid else None),
        ("listens at", status.listen),
        ("in sync", _answer(status.in_sync) or None),
        ("peers", f"{status.peers} connected" if status.state != "stopped" else None),
        ("files", None if status.files is None else f"{status.files:,}, {show.size(status.bytes)}"),
        ("here", None if status.cached_bytes is None else show.size(status.cached_bytes)),
        ("pending", None if status.pending_bytes is None else show.size(status.pending_bytes)),
        ("moving", f"down {show.rate(status.rates.down)}, up {show.rate(status.rates.up)}" if status.pid else None),
        ("share", status.share),
    )
    return show.fields((label, value) for label, value in pairs if value is not None)


def _listed(home: Home, known: engine.KnownShare, record: RunRecord | None) -> dict[str, object]:
    return {
        "share": known.share,
        "name": known.name,
        "role": known.role,
        "state": _state(home, known, record),
        "mountpoint": record.place if record else None,
        "pid": record.pid if record else None,
    }


def _state(home: Home, known: engine.KnownShare, record: RunRecord | None) -> str:
    if record is None:
        return "unfinished" if home.unfinished(known.share).exists() else "stopped"
    return {"mount": "mounted", "serve": "served"}.get(record.purpose, "in use")


def _where(record: RunRecord | None) -> str:
    return record.place or "" if record else ""


def _answer(value: bool | None) -> str:
    return {True: "yes", False: "no", None: ""}[value]
