"""Owns the command `python -m tests.chaos`: a long run, its report, and an exit code of 1 for any difference."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.driver import Plan, run


def main() -> int:
    """Run, print, and return the exit code."""
    options = argparse.ArgumentParser(prog="python -m tests.chaos")
    options.add_argument("--minutes", type=float, default=10.0, help="how long faults come")
    options.add_argument("--messages", type=int, default=2_000_000, help="over all topics")
    options.add_argument("--seed", type=int, default=int(time.time()), help="of messages and faults")
    options.add_argument("--protocol", choices=("classic", "consumer"), default="classic", help="of the group")
    options.add_argument("--folder", type=Path, help="keeps data and logs there")
    given = options.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    begun = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - begun:7.1f} s  {what}", file=sys.stderr, flush=True)

    say(f"seed {given.seed}, logs in {folder}")
    plan = Plan(given.seed, given.messages, given.minutes * 60, settle=600.0, protocol=given.protocol)
    report = run(plan, folder, say)
    print(report.text())
    return 1 if report.differences else 0


if __name__ == "__main__":
    sys.exit(main())
