"""Owns one connector as a measured process: streams until SIGTERM, then says what it cost.

Run as `python -m benchmarks.connector_process CONFIG`; prints the CPU seconds (user and system, all threads, without
imports) and the largest resident memory in MB.
"""

from __future__ import annotations

import resource
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
    print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
