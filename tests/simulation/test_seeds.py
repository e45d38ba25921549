"""Whole nodes under trouble of all kinds: some seeds always, many in the soak; scripts/simulate repeats one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def simulate(*arguments: object) -> list[str]:
    """Run the command; returns its lines, one for each seed where all is well."""
    command = [sys.executable, "-m", "tests.simulation", *map(str, arguments)]
    # Sets of bytes have the same order in every run only with this, and it has to be set before Python starts.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, "\n" + done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("first", range(1000, 1060, 20))
def test_three_nodes(first: int) -> None:
    assert len(simulate("--seed", first, "--count", 20)) == 20


def test_nodes_that_hold_what_changes_too_fast() -> None:
    simulate("--seed", 3000, "--count", 20, "--brake")


def test_eight_nodes() -> None:
    simulate("--seed", 1, "--count", 2, "--nodes", 8, "--steps", 200)


@pytest.mark.parametrize(("seed", "steps"), [(2056, 150), (2104, 1000)])
def test_seeds_that_once_found_a_fault(seed: int, steps: int) -> None:
    simulate("--seed", seed, "--steps", steps)


def test_a_seed_is_always_the_same_story() -> None:
    first, second = (simulate("--seed", 7)[0].split(":")[1] for _ in range(2))
    assert first == second


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("nodes", "steps", "count"), [(3, 150, 3000), (3, 1000, 200), (5, 300, 300), (10, 400, 60)])
def test_many_seeds(nodes: int, steps: int, count: int) -> None:
    simulate("--seed", 2000, "--count", count, "--nodes", nodes, "--steps", steps)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_thirty_nodes() -> None:
    simulate("--seed", 1, "--count", 5, "--nodes", 30, "--steps", 600)
