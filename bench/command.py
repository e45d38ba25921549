"""The command `syncfs` as a benchmark calls it."""

import os
import subprocess
import sys
from pathlib import Path


def syncfs(home: Path, *words: str) -> str:
    """Run one command in a home, which has to succeed; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "syncfs", *words],
        env=os.environ | {"SYNCFS_HOME": str(home)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout
