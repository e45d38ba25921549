"""What the kernel lets only root set, and only once a mount answers: how far it reads ahead and how much at a time.

The reply to INIT resets these values, so they are written after the first answered request. Where they cannot be
written (not root, /sys read-only in a container) the mount works all the same, reading in smaller steps.
"""

import logging
from pathlib import Path
from typing import Final

MAX_BACKGROUND: Final = 64
"""Requests of readahead and the like under way at once; the kernel's default is 12."""
CONGESTION: Final = 48

log = logging.getLogger(__name__)


def tune(minor: int, readahead: int, sys: Path = Path("/sys")) -> bool:
    """Sets readahead (bytes) and the number of background requests of the mount `0:minor`; whether all of it worked."""
    connection = sys / "fs/fuse/connections" / str(minor)
    values = (
        (sys / f"class/bdi/0:{minor}/read_ahead_kb", readahead >> 10),
        (connection / "max_background", MAX_BACKGROUND),
        (connection / "congestion_threshold", CONGESTION),
    )
    refused = []
    for path, value in values:
        try:
            path.write_text(f"{value}\n")
        except OSError as error:
            refused.append(f"{path} ({error.strerror})")
    if refused:
        log.info("reads come in smaller steps, since these could not be set: %s", ", ".join(refused))
    return not refused
