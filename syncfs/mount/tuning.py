"""What the kernel lets only root set, and only once a mount answers: how far it reads ahead.

The answer to INIT resets this value, so it is written after the first answered request. Where it cannot be written (not
root, /sys read-only in a container) the mount works all the same, reading in smaller steps.
"""

import logging
from pathlib import Path

log = logging.getLogger(__name__)


def tune(minor: int, readahead: int, sys: Path = Path("/sys")) -> bool:
    """Sets how far the kernel reads ahead, in bytes, in the mount `0:minor`; whether that worked."""
    path = sys / f"class/bdi/0:{minor}/read_ahead_kb"
    try:
        path.write_text(f"{readahead >> 10}\n")
    except OSError as error:
        log.info("reads come in smaller steps, since %s could not be set (%s)", path, error.strerror)
        return False
    return True
