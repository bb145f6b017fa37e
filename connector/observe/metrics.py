"""Owns the numbers that operators see, and the log lines of what happens to loads.

Never decides and never waits. Invariant: one place turns statistics into metrics; labels come from small closed sets
(tables, triggers, statuses, reasons) and from assigned partitions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from connector.core.loads import Broken, Done, Doubtful, Empty, JobFailed, Prepared, Throttled, Unreadable, spent
from connector.observe.gauges import Board
from connector.observe.instruments import Instruments

if TYPE_CHECKING:
    from connector.core.loads import Load, Receipt
    from connector.core.messages import Decoded, MessageBatch
    from connector.errors import Unavailable
    from connector.observe.gauges import Gauges

log = structlog.get_logger()


class Metrics:
    """The metrics of one process, in a registry of their own; also the pipeline's observer."""

    def __init__(self) -> None:
        make = Instruments()
        self.registry = make.registry
        self._board = Board(make)
        self._stalled: dict[str, str] = {}  # topic → why it waits
        counter, histogram = make.counter, make.histogram
        self._decoded = counter("records_decoded", "Records decoded.", "table")
        self._rejects = counter("rejects", "Messages sent to the dead letters, by reason.", "table", "reason")
        self._tombstones = counter("tombstones", "Messages without a value that were ignored.", "table")
        self._nulled = counter("nulled_dates", "Dates outside the years 1400 to 9999, which became null.", "table")
        self._cut = counter("cut_strings", "Strings cut to 65,000 bytes.", "table")
        self._loads = counter("loads", "Loads flushed, by what triggered them.", "table", "trigger")
        self._executes = counter("executes", "Pushes spent on loads sealed here, refused ones too.", "table")
        self._jobs = counter("jobs", "Jobs that ended, by status.", "table", "status")
        self._pushed_rows = counter("pushed_rows", "Rows upserted or appended by jobs that are DONE.", "table")
        self._deleted_rows = counter("deleted_rows", "Keys deleted by jobs that are DONE.", "table")
        self._pushed_bytes = counter("pushed_bytes", "Bytes of chunks in jobs that are DONE.", "table")
        self._waits = counter("push_waits", "Pushes that had to wait, by cause.", "table", "cause")
        self._stalls = counter("stalls", "Times a topic had to wait for the schema registry or for Celonis.", "topic")
        self._push_seconds = histogram("push_seconds", "From the flush's build to the job's end.", "table")
        self._prepare_seconds = histogram("prepare_seconds", "From the flush's build to the last upload.", "table")
        self._execute_seconds = histogram("execute_seconds", "From the execute to the job's end, if DONE.", "table")
        self._load_age = histogram("load_age_seconds", "Age of a load's first record at its flush.", "table")

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
        if spent(receipt):
            self._executes.labels(table).inc()
        match receipt:
            case Prepared():
                self._prepare_seconds.labels(table).observe(receipt.seconds)
                log.info("uploaded chunks", table=table, load=load, job=receipt.job_id, chunks=len(receipt.chunks))
            case Done():
                self._jobs.labels(table, "DONE").inc()
                self._pushed_rows.labels(table).inc(receipt.rows)
                self._deleted_rows.labels(table).inc(receipt.deleted)
                self._pushed_bytes.labels(table).inc(receipt.size)
                self._push_seconds.labels(table).observe(receipt.seconds)
                self._execute_seconds.labels(table).observe(receipt.executing)
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
                self._waits.labels(table, "late" if receipt.late else "no_answer").inc()
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
        self._board.show(gauges)
