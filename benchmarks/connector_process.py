"""Owns one connector as a measured process: streams until SIGTERM, then says what it cost.

Run as `python -m benchmarks.connector_process CONFIG`; prints the CPU seconds (user and system, all threads, without
imports) and the largest resident memory in MB.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from connector.config_file import load
from connector.observe.logs import configure_logs
from connector.service import Service


def main(config: Path) -> None:
    """Run the connector that `config` describes."""
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    settings = load(config)
    configure_logs("json", "warning", sys.stderr)
    began = time.process_time()
    with Service(settings) as service:
        service.run(lambda: bool(signals))
    print(time.process_time() - began, largest_resident_memory())


def largest_resident_memory() -> float:
    """Return MB since the start of this program; `ru_maxrss` would count the parent's, which a child inherits."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


if __name__ == "__main__":
    main(Path(sys.argv[1]))
