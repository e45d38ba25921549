"""How a failed command says so: one sentence on stderr, as text or as JSON, and never a traceback.

SYNCFS_DEBUG=1 shows the traceback as well.
"""

import os
import signal
import sys
import traceback

import click
import msgspec

from syncfs.cli.exits import Ended, exit_code
from syncfs.control.protocol import INTERNAL
from syncfs.model.errors import SyncfsError, UsageError


def report_failure(error: BaseException, as_json: bool) -> int:
    """Tell on stderr what went wrong; return the exit code."""
    if os.environ.get("SYNCFS_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error)
    error = understood(error)
    code = exit_code(error)
    if as_json:
        failure = {"type": _type_name(error), "message": sentence(error), "exit": code}
        line = msgspec.json.encode({"error": failure}).decode()
    else:
        line = f"syncfs: {sentence(error)}"
    print(line, file=sys.stderr)
    return code


def understood(error: BaseException) -> BaseException:
    """The one error that matters: out of its group, and a complaint of click or the system as an error of ours."""
    while isinstance(error, BaseExceptionGroup):
        error = min(error.exceptions, key=_rank)
    if isinstance(error, click.Abort):
        return KeyboardInterrupt()
    if isinstance(error, click.ClickException):
        return UsageError(_plain_complaint(error))
    if isinstance(error, OSError) and error.filename is not None:
        return SyncfsError(f"{os.fsdecode(error.filename)}: {(error.strerror or str(error)).lower()}")
    return error


def sentence(error: BaseException) -> str:
    """What a person reads about an error that `understood` returned."""
    if isinstance(error, Ended):
        return f"ended by {signal.Signals(error.number).name}"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, SyncfsError):
        return " ".join(str(error).split())
    detail = " ".join([type(error).__name__ + ":", *str(error).split()]).rstrip(":")
    return f"this should not have happened ({detail}): please report it with what SYNCFS_DEBUG=1 shows"


def _type_name(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted"
    return type(error).__name__ if isinstance(error, SyncfsError) else INTERNAL


def _rank(error: BaseException) -> int:
    """Errors with a sentence for people come before others; an interrupt before all."""
    inner = understood(error)
    if isinstance(inner, KeyboardInterrupt):
        return 0
    return 1 if isinstance(inner, SyncfsError) else 2


def _plain_complaint(error: click.ClickException) -> str:
    text = " ".join(error.format_message().split()).rstrip(".")
    text = text[:1].lower() + text[1:]
    context = getattr(error, "ctx", None)
    if isinstance(context, click.Context):
        text += f": see '{context.command_path} --help'"
    return text
