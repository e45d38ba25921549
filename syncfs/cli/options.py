"""What all commands have in common: `-h`, `--json`, an example below the help, and the checks of arguments."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from syncfs.control.settings import check_discovery, check_endpoint, check_peers

F = TypeVar("F", bound=Callable[..., Any])


class _WithExample(click.Command):
    """A command whose help ends with an example, kept as it was written."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.epilog:
            with formatter.section("Example"):
                for line in self.epilog.splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def command(name: str, *, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A command with `--json` (passed as `as_json`) and an example."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        with_json = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs.")(function)
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        return click.command(name, cls=_WithExample, epilog=example, context_settings=settings)(with_json)

    return decorate


def network_options(function: F) -> F:
    """`--peer`, `--listen` and `--discovery`, each checked, as `peers`, `listen` and `discovery`."""
    for option in (
        click.option(
            "--discovery",
            metavar="lan|none",
            callback=_checked(check_discovery),
            help="How other peers are found, besides the fixed ones (default: lan).",
        ),
        click.option(
            "--listen",
            metavar="HOST:PORT",
            callback=_checked(check_endpoint),
            help="Address and port on which peers reach this computer.",
        ),
        click.option(
            "--peer",
            "peers",
            metavar="HOST:PORT",
            multiple=True,
            callback=lambda context, parameter, values: check_peers(",".join(values)),
            help="A peer that is always tried; may be given several times.",
        ),
    ):
        function = option(function)
    return function


def settings_of(peers: str, listen: str | None, discovery: str | None) -> dict[str, str]:
    """The network options as settings of a share; what was not given is not set."""
    given = {"peers": peers, "listen": listen or "", "discovery": discovery or ""}
    return {key: value for key, value in given.items() if value}


def _checked(check: Callable[[str], str]) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    def callback(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        return None if value is None else check(value)

    return callback
