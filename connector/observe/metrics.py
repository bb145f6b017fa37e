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
        self._consumed = counter("consumed_messages"), counter("consumed_bytes")
        self._decoded = counter("records_decoded")
        self._rejects = counter("rejects")
        self._tombstones = counter("tombstones")
        self._nulled = counter("nulled_dates")
        self._cut = counter("cut_strings")
        self._stalls = counter("stalls")
        self._rebalances = counter("rebalances")
        self._loads = counter("loads")
        self._load_age = histogram("load_age_seconds")
        self._pushes = _Pushes(make)
        self._retries = counter("retries")
        self._tokens = counter("token_refreshes")
        self._refused = make.gauge("credentials_refused")
        self._spool_limit = make.gauge("spool_limit_bytes")

    def limited(self, spool_bytes: int) -> None:
        """Show the limit of the spool."""
        self._spool_limit.set(spool_bytes)

    # --- the pipeline's observer ------------------------------------------------------------------------------

    def decoded(self, table: str, messages: MessageBatch, decoded: Decoded) -> None:
        """Count what became of messages; a log line for the first reject of each reason in a batch."""
        if self._stalled.pop(messages.topic, None):
            log.info("resumed topic", topic=messages.topic)
        for counter, amount in zip(self._consumed, (len(messages.values), messages.size), strict=True):
            counter.labels(messages.topic).inc(amount)
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
        self._pushes.count(receipt, table)
        match receipt:
            case Prepared():
                log.info("uploaded chunks", table=table, load=load, job=receipt.job_id, chunks=len(receipt.chunks))
            case Done():
                rows, deleted, seconds = receipt.rows, receipt.deleted, round(receipt.seconds, 1)
                done: dict[str, Any] = {"rows": rows, "deleted": deleted, "seconds": seconds}
                log.info("pushed load", table=table, load=load, job=receipt.job_id, **done)
            case JobFailed():
                said: dict[str, Any] = {"status": receipt.status, "logs": list(receipt.logs)}
                log.warning("failed job", table=table, load=load, job=receipt.job_id, **said)
            case Throttled():
                log.warning("throttled push", **_about(receipt), wait=receipt.wait, detail=receipt.detail)
            case Doubtful():
                log.warning("postponed push", **_about(receipt), wait=receipt.wait, detail=receipt.detail)
            case Unreadable():
                log.warning("lost load to the disk", table=table, load=load, detail=receipt.detail)
            case Broken() | Empty():
                log.info("ended push without a job", table=table, load=load)

    def halted(self, table: str, reason: str) -> None:
        """Say that a person must act."""
        log.error("halted table", table=table, reason=reason)

    def rebalanced(self, event: str) -> None:
        """Count that the group moved partitions."""
        self._rebalances.labels(event).inc()

    # --- the requests to Celonis, from any thread -------------------------------------------------------------

    def retried(self, operation: str, outcome: str) -> None:
        """Count that a request is sent again."""
        self._retries.labels(operation, outcome).inc()

    def refreshed(self) -> None:
        """Count that there is a new OAuth token."""
        self._tokens.inc()

    def refused(self) -> None:
        """Show that the credentials are not accepted; nothing takes that back but another start."""
        self._refused.set(1)
        self._board.unready()

    # --- a look at the whole ----------------------------------------------------------------------------------

    def show(self, gauges: Gauges) -> None:
        """Set all gauges."""
        self._board.show(gauges)


def _about(receipt: Throttled | Doubtful) -> dict[str, Any]:
    """Return the table, the load, and the job where there is one, under the names that all lines use."""
    job = {"job": receipt.prepared.job_id} if receipt.prepared else {}
    return {"table": receipt.load.target.table, "load": receipt.load.id, **job}


class _Pushes:
    """The numbers of pushes, as their receipts come in."""

    def __init__(self, make: Instruments) -> None:
        counter, histogram = make.counter, make.histogram
        self._executes, self._jobs, self._waits = counter("executes"), counter("jobs"), counter("push_waits")
        self._chunk_bytes, self._chunk_rows = histogram("chunk_bytes"), histogram("chunk_rows")
        self._rows, self._deleted = counter("pushed_rows"), counter("deleted_rows")
        self._bytes = counter("pushed_bytes")
        self._push, self._build = histogram("push_seconds"), histogram("build_seconds")
        self._upload = histogram("upload_seconds")
        self._queue, self._run = histogram("queue_seconds"), histogram("run_seconds")

    def count(self, receipt: Receipt, table: str) -> None:
        """Take in how a push went on."""
        if spent(receipt):
            self._executes.labels(table).inc()
        match receipt:
            case Prepared():
                self._prepared(receipt, table)
            case Done():
                self._jobs.labels(table, "DONE").inc()
                self._done(receipt, table)
            case JobFailed():
                self._jobs.labels(table, receipt.status).inc()
            case Throttled():
                self._waits.labels(table, "throttled").inc()
            case Doubtful():
                self._waits.labels(table, "late" if receipt.late else "no_answer").inc()
            case Unreadable():
                self._waits.labels(table, "disk").inc()

    def _prepared(self, receipt: Prepared, table: str) -> None:
        self._build.labels(table).observe(receipt.building)
        self._upload.labels(table).observe(receipt.seconds - receipt.building)
        for chunk in receipt.chunks:
            self._chunk_bytes.labels(table).observe(chunk.size)
            self._chunk_rows.labels(table).observe(chunk.rows)

    def _done(self, receipt: Done, table: str) -> None:
        self._rows.labels(table).inc(receipt.rows)
        self._deleted.labels(table).inc(receipt.deleted)
        self._bytes.labels(table).inc(receipt.size)
        self._push.labels(table).observe(receipt.seconds)
        self._queue.labels(table).observe(receipt.queued)
        self._run.labels(table).observe(receipt.executing - receipt.queued)
