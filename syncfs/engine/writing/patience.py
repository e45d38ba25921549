"""Telling who waits for long work that it goes on."""

from collections.abc import Callable

MoreTime = Callable[[], None]
"""Called while long work goes on, so that who waits for it does not give up."""


def patient() -> None:
    """The MoreTime of who waits for ever."""
