"""Telling others that what comes is put back by a person, so that their brake lets it pass (replication.harm).

It is told right before the first change that it explains, in the same transaction: what is refused, or shows the old
state already, leaves no word of it in anybody's log. The next change after others had their turn tells that it goes on.
"""

from syncfs.engine.feeds.feed import Feed
from syncfs.engine.replication.harm import GOING_ON, restoring
from syncfs.index.index import Index
from syncfs.model.records import SettingRecord


class Purpose:
    """What a person does with a share, such as `restore photos/letter.odt`."""

    def __init__(self, index: Index, feed: Feed, what: str) -> None:
        self._index = index
        self._feed = feed
        # Its place in the log is before all that it explains, whose lamports are taken before it is told.
        self._next = SettingRecord(feed.tick(), feed.now(), restoring(feed.device), what)
        self._is_told = False

    def begin(self) -> None:
        """What is recorded from now on is put back. Raises SetupError, DamageError."""
        if self._is_told:
            return
        self._feed.record([self._next])
        self._is_told = True

    def end(self) -> None:
        """What is recorded from now on is nothing special, until it begins again."""
        end_purpose(self._index, self._feed)
        if self._is_told:
            self._next = SettingRecord(self._feed.tick(), self._feed.now(), restoring(self._feed.device), GOING_ON)
            self._is_told = False


def end_purpose(index: Index, feed: Feed) -> None:
    """End what is told as put back by this device, by whatever process."""
    if index.setting(restoring(feed.device)):
        feed.record([SettingRecord(feed.tick(), feed.now(), restoring(feed.device), "")])
