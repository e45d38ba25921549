"""The command behind scripts/simulate."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from tests.simulation.world import Plan, Result, simulate


def main() -> int:
    """Run the seeds asked for; 1 if any of them failed."""
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Runs whole nodes on a network in memory, with trouble of all kinds, and checks what must hold.",
    )
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--count", type=int, default=1, help="so many seeds, one after the other (1)")
    parser.add_argument("--nodes", type=int, default=3, help="how many nodes (3)")
    parser.add_argument("--steps", type=int, default=150, help="how many steps before the end (150)")
    parser.add_argument("--log", type=Path, help="write all that happens to this file")
    parser.add_argument("--shrink", action="store_true", help="find fewer steps that fail as well")
    parser.add_argument("--keep-going", action="store_true", help="go on after a seed that failed")
    parser.add_argument("--brake", action="store_true", help="hold what one node changes of a few files at once")
    wanted = parser.parse_args()
    failed = False
    for seed in range(wanted.seed, wanted.seed + wanted.count):
        plan = Plan(seed, wanted.nodes, wanted.steps, wanted.brake)
        result = simulate(plan, wanted.log)
        if result.problems and wanted.shrink:
            result = shrink(result, wanted.log)
        show(result)
        failed = failed or bool(result.problems)
        if failed and not wanted.keep_going:
            break
    return int(failed)


def shrink(result: Result, log: Path | None) -> Result:
    """Halve the steps as long as it fails, then take single ones away."""
    plan, cut = result.plan, result.plan.steps // 2
    while cut:
        fewer = simulate(replace(plan, steps=plan.steps - cut), log)
        if fewer.problems:
            result, plan = fewer, fewer.plan
            cut = min(cut, plan.steps // 2)
        else:
            cut //= 2
    return simulate(plan, log) if log else result


def show(result: Result) -> None:
    """Say in one line how it went, or what failed, in some more."""
    plan = result.plan
    word = "FAILED" if result.problems else "ok"
    print(f"seed {plan.seed}: {word} {result.digest}: {result.summary}", flush=True)
    if not result.problems:
        return
    for problem in result.problems[:8]:
        print(f"  ! {problem}")
    print("  the last that happened:")
    for line in result.last[-20:]:
        print(f"    {line[:150]}")
    brake = " --brake" if plan.brake else ""
    again = f"scripts/simulate --seed {plan.seed} --nodes {plan.nodes} --steps {plan.steps}{brake} --log FILE"
    print(f"  again: {again}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
