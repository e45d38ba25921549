"""What a share takes from the computer it runs on: clock, randomness and name. A simulation hands in others."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Computer:
    """`wall` gives ns since 1970, `random` bytes fit for keys, `dice` numbers 0 ≤ x < 1, `name` what peers see."""

    wall: Callable[[], int]
    random: Callable[[int], bytes]
    dice: Callable[[], float]
    name: Callable[[], str]

    def seconds(self) -> int:
        """Seconds since 1970."""
        return self.wall() // 10**9


def this_computer() -> Computer:
    """The real one."""
    return Computer(time.time_ns, os.urandom, random.random, device_name)


def device_name() -> str:
    """What this computer is called among the peers."""
    return os.uname().nodename.split(".")[0][:60] or "computer"
