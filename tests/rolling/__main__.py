"""Owns the command `python -m tests.rolling`: rounds of restarts of both workloads; exit code 1 for any problem."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.rolling.course import run
from tests.rolling.release import EXAMPLES


def main() -> int:
    """Run, print, and return the exit code."""
    options = argparse.ArgumentParser(prog="python -m tests.rolling")
    options.add_argument("--rounds", type=int, default=5, help="of a rolling restart, a single one and a kill -9")
    options.add_argument("--seed", type=int, default=int(time.time()), help="of the messages")
    options.add_argument("--kind", choices=EXAMPLES, action="append", help="of workload; without it both")
    options.add_argument("--folder", type=Path, help="keeps data and logs there")
    given = options.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="rolling-"))
    begun, problems = time.monotonic(), []

    def say(what: str) -> None:
        print(f"{time.monotonic() - begun:7.1f} s  {what}", flush=True)

    for kind in given.kind or EXAMPLES:
        say(f"{kind}, seed {given.seed}, logs in {folder}")
        problems += run(folder / kind, kind, seed=given.seed, rounds=given.rounds, say=say)
    print("\n".join(problems or ["every message is accounted for exactly once, and nothing moved without need"]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
