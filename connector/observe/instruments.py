"""Owns the one registry of a process, and how a row of the catalog becomes a metric of the client library.

Never counts anything. Invariant: a metric is made of its row, once; one without a row cannot be made.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from connector.observe.catalog import METRICS, PREFIX, Kind, Metric

_BY_NAME = {metric.name: metric for metric in METRICS}


class Instruments:
    """Makes the metrics of one process, each by its name in the catalog; those of the process itself are there."""

    def __init__(self) -> None:
        # of each a second series, which says no more than `process_start_time_seconds`
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

    def counter(self, name: str) -> Counter:
        """Return the counter of this name; raises LookupError where the catalog has none."""
        row = _row(name, Kind.COUNTER)
        return Counter(PREFIX + name, row.text, row.labels, registry=self.registry)

    def gauge(self, name: str) -> Gauge:
        """Return the gauge of this name; raises LookupError where the catalog has none."""
        row = _row(name, Kind.GAUGE)
        return Gauge(PREFIX + name, row.text, row.labels, registry=self.registry)

    def histogram(self, name: str) -> Histogram:
        """Return the histogram of this name; raises LookupError where the catalog has none."""
        row = _row(name, Kind.HISTOGRAM)
        return Histogram(PREFIX + name, row.text, row.labels, registry=self.registry, buckets=row.buckets)


def _row(name: str, kind: Kind) -> Metric:
    row = _BY_NAME.get(name)
    if row is None or row.kind is not kind:
        raise LookupError(f"the catalog has no {kind} {name}")
    return row
