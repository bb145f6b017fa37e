"""Owns the time of a claim: from the append of an entry to its return, through a real broker on this machine.

Never shares the broker with anything else. Invariant: one entry at a time, as a table that waits for its grant does.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from connector.config import Budget, Kafka
from connector.core.entries import Entry, Kind
from connector.kafka.ledger import KafkaLedger
from tests.kafka_broker import KafkaBroker, wait_for

CLAIMS = 200
BAR_MS = 50.0


class Claims(NamedTuple):
    """Milliseconds from append to read-back: in the middle, and of the slowest in a hundred."""

    median: float
    p99: float


def ledger_claim(count: int = CLAIMS) -> Claims:
    """Return what one claim of `count` takes."""
    with tempfile.TemporaryDirectory(prefix="kafka-celonis-bench-") as folder, KafkaBroker(Path(folder)) as broker:
        ledger = KafkaLedger(Kafka(brokers=broker.bootstrap), Budget(mode="ledger"))
        try:
            wait_for(lambda: (ledger.read(), ledger.trouble is None)[1])
            _claim(ledger)  # the first one waits for the broker to make room for its producer
            taken = [_claim(ledger) for _ in range(count)]
        finally:
            ledger.close()
    return Claims(statistics.median(taken), statistics.quantiles(taken, n=100)[-1])


def _claim(ledger: KafkaLedger) -> float:
    entry = Entry(Kind.CLAIM, "group", "replica", "pool", rate=240, share=1, id="7", table="ORDERS", bid=1e6)
    began = time.monotonic()
    ledger.append(entry)
    wait_for(ledger.read)
    return (time.monotonic() - began) * 1000


def main() -> int:
    """Measure and print; return 1 where the bar is missed."""
    found = ledger_claim()
    print(f"{CLAIMS} claims: median {found.median:.1f} ms, p99 {found.p99:.1f} ms; the bar is {BAR_MS:.0f} ms")
    return 1 if found.median > BAR_MS else 0


if __name__ == "__main__":
    sys.exit(main())
