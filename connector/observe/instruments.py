"""Owns how metrics are named, and the one registry of a process.

Never counts anything. Invariant: every name begins with `kafka_celonis_`.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_PREFIX = "kafka_celonis_"
_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class Instruments:
    """Makes the metrics of one process, each of a name, a help text and its labels."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """Return a new counter; `_total` is added to its name."""
        return Counter(_PREFIX + name, text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """Return a new gauge."""
        return Gauge(_PREFIX + name, text, labels, registry=self.registry)

    def histogram(self, name: str, text: str, *labels: str) -> Histogram:
        """Return a new histogram of seconds."""
        return Histogram(_PREFIX + name, text, labels, registry=self.registry, buckets=_SECONDS)
