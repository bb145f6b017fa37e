"""Owns what a replay costs beside streaming: the same messages, the same minutes, each in a process of its own.

Never judges what arrives. Run as `python -m benchmarks.replaying CONFIG` it is the process that is measured: it replays
all tables elsewhere, and prints what `benchmarks.connector_process` prints. Invariant: imports are not counted.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.connector_process import largest_resident_memory
from connector.config_file import load
from connector.core.replays import Way
from connector.observe.logs import configure_logs
from connector.replayer import Replayer
from connector.replaying import Request, outline

if TYPE_CHECKING:
    from benchmarks.streaming import Cost, Ground

ROUNDS = 3


def replay_to_streaming(ground: Ground, count: int = 2_000_000) -> tuple[float, Cost]:
    """Return the CPU of replaying topic `flat` as a multiple of streaming it (median), and the last replay's cost."""
    table = {"topics": ["flat"], "flush": {"age": "1 s"}}
    ratios = []
    for _ in range(ROUNDS):
        streamed = ground.stream([table], count)
        replayed = ground.stream([table], count, "benchmarks.replaying")
        ratios.append(replayed.cpu / streamed.cpu)
    return statistics.median(ratios), replayed


def main(config: Path) -> None:
    """Replay all tables that `config` describes into others."""
    settings = load(config)
    configure_logs("json", "warning", sys.stderr)
    began = time.process_time()
    found = outline(settings, Request((), Way.INTO, "earliest", "latest", "{table}_again", share=1.0), 0)
    done = Replayer(settings, found, lambda: False, lambda _: None).run()
    if done is None or not done.rows:
        raise SystemExit("nothing was replayed")
    print(time.process_time() - began, largest_resident_memory())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
