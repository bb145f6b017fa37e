"""Owns the numbers that operators see, and the log lines of what happens to loads.

Never decides and never waits. Invariant: one place turns statistics into metrics; labels come from small closed sets
(tables, triggers, statuses, reasons) and from assigned partitions.
"""

from __future__ import annotations

from collections import Counter as Counted
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from connector.core.loads import Broken, Done, Doubtful, Empty, JobFailed, Prepared, Throttled, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from connector.core.loads import Load, Receipt
    from connector.core.messages import Decoded, MessageBatch
    from connector.core.offsets import TopicPartition
    from connector.errors import Unavailable

log = structlog.get_logger()

_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class TableGauges(NamedTuple):
    """How one table stands: records and bytes in its buffer, the age of the oldest (seconds), and why it is halted."""

    table: str
    records: int
    size: int
    age: float
    halted: str | None


class Gauges(NamedTuple):
    """How the service stands; `paused` gives partitions and the reason that holds them back."""

    tables: Iterable[TableGauges]
    lag: Mapping[TopicPartition, int]
    lost: Mapping[str, int]
    paused: Mapping[TopicPartition, str]
    pushes_left: int
    spool_bytes: int
    memory_bytes: int


class Metrics:
    """The metrics of one process, in a registry of their own; also the pipeline's observer."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._stalled: dict[str, str] = {}  # topic → why it waits
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self._decoded = counter("records_decoded", "Records decoded.", "table")
        self._rejects = counter("rejects", "Messages sent to the dead letters, by reason.", "table", "reason")
        self._tombstones = counter("tombstones", "Messages without a value that were ignored.", "table")
        self._nulled = counter("nulled_dates", "Dates outside the years 1400 to 9999, which became null.", "table")
        self._cut = counter("cut_strings", "Strings cut to 65,000 bytes.", "table")
        self._loads = counter("loads", "Loads flushed, by what triggered them.", "table", "trigger")
        self._jobs = counter("jobs", "Jobs that ended, by status.", "table", "status")
        self._pushed_rows = counter("pushed_rows", "Rows upserted or appended by jobs that are DONE.", "table")
        self._deleted_rows = counter("deleted_rows", "Keys deleted by jobs that are DONE.", "table")
        self._pushed_bytes = counter("pushed_bytes", "Bytes of chunks in jobs that are DONE.", "table")
        self._waits = counter("push_waits", "Pushes that had to wait, by cause.", "table", "cause")
        self._stalls = counter("stalls", "Times a topic had to wait for the schema registry or for Celonis.", "topic")
        self._push_seconds = histogram("push_seconds", "From the flush's build to the job's end.", "table")
        self._load_age = histogram("load_age_seconds", "Age of a load's first record at its flush.", "table")
        self._lag = gauge("lag_messages", "Messages between position and end.", "topic", "partition")
        self._lost = gauge("lost_messages", "Messages that were gone before they were read, since the start.", "topic")
        self._paused = gauge("paused_partitions", "Partitions held back, by reason.", "reason")
        self._records = gauge("buffered_records", "Records in the buffer.", "table")
        self._bytes = gauge("buffered_bytes", "Bytes in the buffer, memory and disk.", "table")
        self._age = gauge("buffered_age_seconds", "Age of the oldest record in the buffer.", "table")
        self._halted = gauge("halted", "1 while the table stands still until a person acts.", "table")
        self._left = gauge("pushes_left", "Pushes left in this UTC hour.")
        self._spool = gauge("spool_bytes", "Bytes on local disk.")
        self._memory = gauge("memory_bytes", "Bytes of records in memory.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"kafka_celonis_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"kafka_celonis_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"kafka_celonis_{name}", text, labels, registry=self.registry, buckets=_SECONDS)

    # --- the pipeline's observer ------------------------------------------------------------------------------

    def decoded(self, table: str, messages: MessageBatch, decoded: Decoded) -> None:
        """Count what became of messages; a log line for the first reject of each reason in a batch."""
        if self._stalled.pop(messages.topic, None):
            log.info("resumed topic", topic=messages.topic)
        self._decoded.labels(table).inc(decoded.batch.num_rows)
        for count, counter in (
            (decoded.tombstones, self._tombstones),
            (decoded.nulled_dates, self._nulled),
            (decoded.cut, self._cut),
        ):
            if count:
                counter.labels(table).inc(count)
        for reason in {r.reason for r in decoded.rejects}:
            found = [r for r in decoded.rejects if r.reason == reason]
            self._rejects.labels(table, reason).inc(len(found))
            log.warning(
                "rejected messages",
                table=table,
                topic=messages.topic,
                reason=reason,
                count=len(found),
                first=str(found[0].range),
                detail=found[0].detail,
            )

    def stalled(self, topic: str, error: Unavailable) -> None:
        """Count that a topic waits, and say it once for each reason."""
        self._stalls.labels(topic).inc()
        if self._stalled.get(topic) != str(error):
            self._stalled[topic] = str(error)
            log.warning("paused topic", topic=topic, error=str(error), wait=error.wait)

    def flushed(self, load: Load, now: float) -> None:
        """Count and say that a load was sealed."""
        age = now - load.opened_at
        self._loads.labels(load.target.table, load.trigger.value).inc()
        self._load_age.labels(load.target.table).observe(age)
        log.info(
            "flushed load",
            table=load.target.table,
            load=load.id,
            trigger=load.trigger.value,
            rows=load.rows,
            bytes=load.size,
            age=round(age, 1),
        )

    def settled(self, receipt: Receipt) -> None:
        """Count and say how a push went on."""
        table, load = receipt.load.target.table, receipt.load.id
        match receipt:
            case Prepared():
                log.info("uploaded chunks", table=table, load=load, job=receipt.job_id, chunks=len(receipt.chunks))
            case Done():
                self._jobs.labels(table, "DONE").inc()
                self._pushed_rows.labels(table).inc(receipt.rows)
                self._deleted_rows.labels(table).inc(receipt.deleted)
                self._pushed_bytes.labels(table).inc(receipt.size)
                self._push_seconds.labels(table).observe(receipt.seconds)
                rows, deleted, seconds = receipt.rows, receipt.deleted, round(receipt.seconds, 1)
                done: dict[str, Any] = {"rows": rows, "deleted": deleted, "seconds": seconds}
                log.info("pushed load", table=table, load=load, job=receipt.job_id, **done)
            case JobFailed():
                self._jobs.labels(table, receipt.status).inc()
                log.warning("failed job", table=table, load=load, job=receipt.job_id, logs=list(receipt.logs))
            case Throttled():
                self._waits.labels(table, "throttled").inc()
                log.warning("throttled push", table=table, load=load, wait=receipt.wait, detail=receipt.detail)
            case Doubtful():
                self._waits.labels(table, "no_answer").inc()
                log.warning("postponed push", table=table, load=load, wait=receipt.wait, detail=receipt.detail)
            case Unreadable():
                self._waits.labels(table, "disk").inc()
                log.warning("lost load to the disk", table=table, load=load, detail=receipt.detail)
            case Broken() | Empty():
                log.info("ended push without a job", table=table, load=load)

    def halted(self, table: str, reason: str) -> None:
        """Say that a person must act."""
        log.error("halted table", table=table, reason=reason)

    # --- a look at the whole ----------------------------------------------------------------------------------

    def show(self, gauges: Gauges) -> None:
        """Set all gauges."""
        for t in gauges.tables:
            self._records.labels(t.table).set(t.records)
            self._bytes.labels(t.table).set(t.size)
            self._age.labels(t.table).set(t.age)
            self._halted.labels(t.table).set(1 if t.halted else 0)
        _replace(self._lag, {(tp.topic, str(tp.partition)): messages for tp, messages in gauges.lag.items()})
        _replace(self._paused, {(reason,): n for reason, n in Counted(gauges.paused.values()).items()})
        for topic, messages in gauges.lost.items():
            self._lost.labels(topic).set(messages)
        self._left.set(gauges.pushes_left)
        self._spool.set(gauges.spool_bytes)
        self._memory.set(gauges.memory_bytes)


def _replace(gauge: Gauge, values: Mapping[tuple[str, ...], int]) -> None:
    """Show exactly `values`; what stays is never gone for a moment, in which someone may scrape."""
    for labels in {tuple(s.labels.values()) for m in gauge.collect() for s in m.samples} - values.keys():
        gauge.remove(*labels)
    for labels, value in values.items():
        gauge.labels(*labels).set(value)
