"""Owns the command `python -m tests.hours`: several hours of the team's budget; the exit code is 1 for any problem."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.hours.driver import run
from tests.kafka_broker import KafkaBroker


def main() -> int:
    """Run, print, and return the exit code."""
    options = argparse.ArgumentParser(prog="python -m tests.hours")
    options.add_argument("--hours", type=int, default=6, help="full hours, each takes a minute")
    options.add_argument("--foreign", type=int, metavar="N", help="from hour N on others eat 100 pushes an hour")
    options.add_argument("--folder", type=Path, help="keeps data and logs there")
    given = options.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="hours-"))
    broker_folder = folder / "kafka"
    broker_folder.mkdir(parents=True, exist_ok=True)
    with KafkaBroker(broker_folder) as kafka:
        report = run(kafka, folder / "run", hours=given.hours, foreign_from=given.foreign, say=print)
    print(report.text())
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
