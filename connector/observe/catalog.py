"""Owns the table of metrics: what there is, of which kind, in which unit, with which labels, and what it tells.

Never counts. `/metrics` and the README's reference are both made of it. Invariant: a metric that is not here does not
exist; labels come from small closed sets (tables, topics, reasons) and from assigned partitions, never from messages.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

PREFIX = "kafka_celonis_"


class Kind(StrEnum):
    """What Prometheus calls the type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


_ENDINGS = {Kind.COUNTER: ("_total",), Kind.GAUGE: ("",), Kind.HISTOGRAM: ("_bucket", "_sum", "_count")}
_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_BYTES = (1e4, 1e5, 1e6, 1e7, 5e7, 1e8, 2.5e8, 5e8, 1e9)
_ROWS = (1e2, 1e3, 1e4, 1e5, 1e6, 1e7)


class Metric(NamedTuple):
    """One metric: `name` without what Prometheus puts around it, `unit` empty for 0 or 1.

    `text` is its help, `more` what only the README adds. `buckets` of a histogram are in its unit.
    """

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    text: str
    more: str = ""
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """The name that a person asks for."""
        return PREFIX + self.name + ("_total" if self.kind is Kind.COUNTER else "")

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series."""
        return tuple(PREFIX + self.name + ending for ending in _ENDINGS[self.kind])


def _seconds(name: str, text: str) -> Metric:
    return Metric(name, Kind.HISTOGRAM, "seconds", _TABLE, text, buckets=_SECONDS)


_TABLE, _TOPIC, _AT = ("table",), ("topic",), ("topic", "partition")
_C, _G = Kind.COUNTER, Kind.GAUGE

METRICS: tuple[Metric, ...] = (
    # how it stands with its group
    Metric("ready", _G, "", (), "1 while the group has taken this replica in and nothing that it needs is missing.",
           "What `/readyz` answers; it names the reason."),
    Metric("missing", _G, "", ("dependency",), "1 while this replica misses what it needs, by dependency.",
           "`brokers`, `topics` (of those that are named), `ledger`, `schema_registry`, `celonis`, `spool`; 0 also "
           "where it is not used."),
    Metric("rebalances", _C, "rebalances", ("event",), "Times that the group moved partitions to or from this replica.",
           "`assigned`, `revoked`; `lost`: without asking, the group gave this replica up."),
    Metric("lag_messages", _G, "messages", _AT, "Messages between position and end: not consumed."),
    Metric("committed_lag_messages", _G, "messages", _AT,
           "Messages between committed offset and end: not surely in the tables."),
    Metric("lost_messages", _G, "messages", _TOPIC, "Messages that were gone before they were read, since the start."),
    Metric("stuck_partitions", _G, "partitions", _TOPIC, "Partitions with a lag that do not move, and should.",
           "For a minute, and not held back; the log says what to look for."),
    Metric("paused_partitions", _G, "partitions", ("reason",), "Partitions held back, by reason.",
           "`budget`, `spool`, `dead_letters` (too many are not acknowledged), `stalled` (schema registry or Celonis "
           "do not answer), `intent` (waits for a job that was found), `replay` (a replay holds it, or has it read "
           "again), `isolating` (a bad record is searched for), `draining` heal by themselves; `halted`, `refused`, "
           "`data_loss` wait for you."),
    Metric("paused_seconds", _C, "seconds", ("reason",),
           "Seconds in which a partition or more was held back, by reason, to the second."),
    Metric("stalls", _C, "stalls", _TOPIC, "Times a topic had to wait for the schema registry or for Celonis."),
    # messages into records
    Metric("consumed_messages", _C, "messages", _TOPIC, "Messages taken in; one that is read again counts again."),
    Metric("consumed_bytes", _C, "bytes", _TOPIC, "Bytes of the values of the messages taken in."),
    Metric("records_decoded", _C, "records", _TABLE, "Records decoded."),
    Metric("rejects", _C, "rejects", ("table", "reason"), "Messages sent to the dead letters, by reason."),
    Metric("tombstones", _C, "tombstones", _TABLE, "Messages without a value that were ignored."),
    Metric("nulled_dates", _C, "dates", _TABLE, "Dates outside the years 1400 to 9999, which became null."),
    Metric("cut_strings", _C, "strings", _TABLE, "Strings cut to 65,000 bytes."),
    # records that wait
    Metric("buffered_records", _G, "records", _TABLE, "Records in the buffer."),
    Metric("buffered_bytes", _G, "bytes", _TABLE, "Bytes in the buffer, memory and disk."),
    Metric("buffered_age_seconds", _G, "seconds", _TABLE, "Age of the oldest record in the buffer."),
    Metric("staleness_seconds", _G, "seconds", _TABLE,
           "Since when the oldest record waits that is read and not in the table yet."),
    Metric("waiting_record_seconds", _G, "seconds", _TABLE,
           "What the next push is worth: record-seconds that wait, weighted.", "The table with the most goes next."),
    Metric("halted", _G, "", _TABLE, "1 while the table stands still until a person acts."),
    Metric("memory_bytes", _G, "bytes", (), "Bytes of records in memory."),
    Metric("spool_bytes", _G, "bytes", (), "Bytes on local disk."),
    Metric("spool_limit_bytes", _G, "bytes", (), "Bytes on local disk at which consumption pauses: `spool.bytes`."),
    # loads into jobs
    Metric("loads", _C, "loads", ("table", "trigger"), "Loads flushed, by what triggered them."),
    _seconds("load_age_seconds", "Age of a load's first record at its flush."),
    Metric("chunk_bytes", Kind.HISTOGRAM, "bytes", _TABLE, "Bytes of a chunk that was uploaded.", buckets=_BYTES),
    Metric("chunk_rows", Kind.HISTOGRAM, "rows", _TABLE, "Rows of a chunk that was uploaded.", buckets=_ROWS),
    Metric("executes", _C, "executes", _TABLE, "Pushes spent on loads sealed here, refused ones too."),
    Metric("jobs", _C, "jobs", ("table", "status"), "Jobs that ended, by status.", "`DONE`, `ERROR`, `CANCELED`."),
    Metric("pushed_rows", _C, "rows", _TABLE, "Rows upserted or appended by jobs that are DONE."),
    Metric("deleted_rows", _C, "rows", _TABLE, "Keys deleted by jobs that are DONE."),
    Metric("pushed_bytes", _C, "bytes", _TABLE, "Bytes of chunks in jobs that are DONE."),
    _seconds("push_seconds", "From the flush's build to the end of a job that is DONE, without the wait for its turn."),
    _seconds("build_seconds", "Writing the chunks of a load."),
    _seconds("upload_seconds", "Creating the job, uploading its chunks and verifying them."),
    _seconds("queue_seconds", "From the execute to when the job was last seen to wait, if DONE."),
    _seconds("run_seconds", "From when the job was last seen to wait to its end, if DONE."),
    Metric("push_waits", _C, "waits", ("table", "cause"), "Pushes that had to wait, by cause.",
           "`throttled` (429, 409, 503), `no_answer`, `late` (the grant ran out unused), `disk`."),
    Metric("retries", _C, "retries", ("operation", "outcome"),
           "Requests to Celonis that were sent again, by what the answer or its absence asked for.",
           "`later` (nothing happened), `again` (harmless to repeat), `remake` and `compare` (in doubt: another job)."),
    Metric("token_refreshes", _C, "refreshes", (), "OAuth tokens that Celonis gave."),
    Metric("credentials_refused", _G, "", (), "1 once Celonis has refused the credentials.",
           "It stays to be seen for a minute; then the process ends with exit code 5."),
    # the budget, and who decided what
    Metric("pushes_left", _G, "pushes", (), "Pushes left in this UTC hour.",
           "Of this replica; with `budget.mode: ledger` of all together."),
    Metric("pushes_per_hour", _G, "pushes", (), "Pushes that a whole UTC hour brings.", "Of the same."),
    Metric("next_push_seconds", _G, "seconds", (), "Seconds until the next push can be granted."),
    Metric("ledger_trouble", _G, "", (), "1 while the budget ledger cannot be trusted."),
    Metric("budget_alone", _G, "", (), "1 while this replica paces by itself, without the budget ledger."),
    Metric("open_intents", _G, "intents", (), "Partitions under a job that is decided on and not committed as done.",
           "`kafka-celonis intents` names the jobs."),
    Metric("open_intent_age_seconds", _G, "seconds", (), "Since when this replica knows of the oldest of them."),
)  # fmt: skip

PROCESS: dict[str, str] = {
    "process_resident_memory_bytes": "Resident memory of the process.",
    "process_cpu_seconds_total": "CPU that the process has used.",
    "process_open_fds": "Files and sockets that it has open.",
    "process_start_time_seconds": "When it was started, in seconds since the epoch.",
}
"""Of the client library's standard metrics of a process (on Linux), those to look at."""
