"""Owns the command `python -m tests.replays`: each way of a replay over millions of messages, killed and resumed.

Never runs in the test suite: it is long. Invariant: the exit code is 0 only where every table equals the log.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.kafka_broker import KafkaBroker
from tests.replays.driver import run


def main() -> int:
    """Run, print, and return the exit code."""
    options = argparse.ArgumentParser(prog="python -m tests.replays")
    options.add_argument("--messages", type=int, default=10_000_000)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="replays-") as name:
        folder = Path(name)
        (folder / "kafka").mkdir()
        with KafkaBroker(folder / "kafka") as kafka:
            problems = run(kafka, folder, given.messages, print)
    print("\n".join(problems) or "all tables equal the log")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
