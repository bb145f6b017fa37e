"""The numbers and the log lines of a scripted run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from structlog.testing import capture_logs

from connector.core.columns import TableSchema
from connector.core.flush import Trigger
from connector.core.loads import (
    Broken,
    Chunk,
    Done,
    Doubtful,
    Empty,
    JobFailed,
    Load,
    Prepared,
    Segment,
    Target,
    Throttled,
    Unreadable,
)
from connector.core.messages import Decoded, reject
from connector.errors import RegistryUnavailable
from connector.observe.catalog import METRICS, PREFIX, PROCESS, Kind, Metric
from connector.observe.instruments import Instruments
from connector.observe.metrics import Metrics
from tests.fakes import message_batch

if TYPE_CHECKING:
    from connector.core.loads import Receipt

SEGMENT = Segment(Path("s"), TableSchema(), 5, 400, ())
LOAD = Load("load-1", Target("T", ()), TableSchema(), (SEGMENT,), (), Trigger.AGE, 100.0)
PREPARED = Prepared(LOAD, "job-1", (Chunk(Path("c"), 5, 400), Chunk(Path("d"), 2, 90_000)), 1.0, 0.25)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"kafka_celonis_{name}", labels)


def decoded(rows: int = 2, **counts: Any) -> Decoded:
    batch = pa.RecordBatch.from_arrays([pa.array(range(rows))], names=["v"])
    return Decoded(batch, np.arange(rows), **counts)


def test_messages_are_counted_as_what_they_became() -> None:
    metrics = Metrics()
    messages = message_batch(b"1", b"x", b"y", None, start=40)
    rejects = [reject(messages, 1, "broken", "no integer"), reject(messages, 2, "broken", "neither")]
    with capture_logs() as lines:
        metrics.decoded("T", messages, decoded(1, rejects=rejects, tombstones=1, nulled_dates=3, cut=4))
        metrics.decoded("T", messages, decoded(2))
    assert value(metrics, "consumed_messages_total", topic="orders") == 8
    assert value(metrics, "consumed_bytes_total", topic="orders") == 6, "a tombstone has none"
    assert value(metrics, "records_decoded_total", table="T") == 3
    assert value(metrics, "rejects_total", table="T", reason="broken") == 2
    assert value(metrics, "tombstones_total", table="T") == 1
    assert value(metrics, "nulled_dates_total", table="T") == 3
    assert value(metrics, "cut_strings_total", table="T") == 4
    assert lines == [
        {
            "event": "rejected messages",
            "log_level": "warning",
            "table": "T",
            "topic": "orders",
            "reason": "broken",
            "count": 2,
            "first": "orders[0]@41..42",
            "detail": "no integer",
        }
    ]


def test_a_flush_is_counted_by_its_trigger_with_the_age_of_its_first_record() -> None:
    metrics = Metrics()
    with capture_logs() as lines:
        metrics.flushed(LOAD, 161.25)
    assert value(metrics, "loads_total", table="T", trigger="age") == 1
    assert value(metrics, "load_age_seconds_sum", table="T") == 61.25
    assert lines[0] == {
        "event": "flushed load",
        "log_level": "info",
        "table": "T",
        "load": "load-1",
        "trigger": "age",
        "rows": 5,
        "bytes": 400,
        "age": 61.2,
    }


@pytest.mark.parametrize(
    ("receipt", "sample", "labels", "event", "level"),
    [
        (PREPARED, None, {}, "uploaded chunks", "info"),
        (Done(LOAD, "job-1", 5, 400, 3.5), "jobs_total", {"status": "DONE"}, "pushed load", "info"),
        (JobFailed(LOAD, "job-1", "ERROR", ("why",)), "jobs_total", {"status": "ERROR"}, "failed job", "warning"),
        (JobFailed(LOAD, "job-1", "CANCELED"), "jobs_total", {"status": "CANCELED"}, "failed job", "warning"),
        (
            Throttled(LOAD, None, 9.0, exhausted=True, detail="429"),
            "push_waits_total",
            {"cause": "throttled"},
            "throttled push",
            "warning",
        ),
        (Doubtful(LOAD, None, 9.0, "504"), "push_waits_total", {"cause": "no_answer"}, "postponed push", "warning"),
        (
            Doubtful(LOAD, PREPARED, 0.0, "late", late=True),
            "push_waits_total",
            {"cause": "late"},
            "postponed push",
            "warning",
        ),
        (Unreadable(LOAD, "gone"), "push_waits_total", {"cause": "disk"}, "lost load to the disk", "warning"),
        (Broken(LOAD, "403", "permit it"), None, {}, "ended push without a job", "info"),
        (Empty(LOAD), None, {}, "ended push without a job", "info"),
    ],
    ids=lambda v: type(v).__name__ if hasattr(v, "load") else "",
)
def test_each_receipt_has_its_number_and_its_line(
    receipt: Receipt, sample: str | None, labels: dict[str, str], event: str, level: str
) -> None:
    metrics = Metrics()
    with capture_logs() as lines:
        metrics.settled(receipt)
    if sample:
        assert value(metrics, sample, table="T", **labels) == 1
    (line,) = lines
    assert (line["event"], line["log_level"], line["table"], line["load"]) == (event, level, "T", "load-1")


def test_what_arrived_is_counted_in_rows_bytes_and_seconds() -> None:
    metrics = Metrics()
    for _ in range(2):
        metrics.settled(Done(LOAD, "job-1", 5, 400, 3.5, 2))
    assert value(metrics, "pushed_rows_total", table="T") == 10
    assert value(metrics, "deleted_rows_total", table="T") == 4
    assert value(metrics, "pushed_bytes_total", table="T") == 800
    assert value(metrics, "push_seconds_sum", table="T") == 7.0
    assert value(metrics, "push_seconds_bucket", table="T", le="5.0") == 2


def test_the_time_of_a_push_is_told_in_its_parts() -> None:
    metrics = Metrics()
    metrics.settled(PREPARED)
    metrics.settled(Done(LOAD, "job-1", 5, 400, 3.5, 2, 2.5, 0.5))
    names = "build", "upload", "queue", "run", "push"
    assert [value(metrics, f"{name}_seconds_sum", table="T") for name in names] == [0.25, 0.75, 0.5, 2.0, 3.5]


def test_the_chunks_that_went_up_are_told_by_their_size() -> None:
    metrics = Metrics()
    metrics.settled(PREPARED)
    assert value(metrics, "chunk_rows_sum", table="T") == 7
    assert value(metrics, "chunk_bytes_sum", table="T") == 90_400
    assert value(metrics, "chunk_bytes_bucket", table="T", le="10000.0") == 1


def test_requests_to_celonis_are_counted_by_what_they_asked_for() -> None:
    metrics = Metrics()
    for outcome in ("later", "again", "later"):
        metrics.retried("upload", outcome)
    metrics.refreshed()
    assert value(metrics, "retries_total", operation="upload", outcome="later") == 2
    assert value(metrics, "token_refreshes_total") == 1
    assert value(metrics, "credentials_refused") == 0
    metrics.refused()
    assert value(metrics, "credentials_refused") == 1


def test_moves_of_the_group_are_counted_and_the_limit_of_the_spool_is_shown() -> None:
    metrics = Metrics()
    metrics.rebalanced("assigned")
    metrics.rebalanced("assigned")
    metrics.limited(10 << 30)
    assert value(metrics, "rebalances_total", event="assigned") == 2
    assert value(metrics, "spool_limit_bytes") == 10 << 30


def test_a_push_of_the_budget_is_counted_where_it_was_spent() -> None:
    metrics = Metrics()
    for receipt in (
        PREPARED,
        Doubtful(LOAD, PREPARED, 0.0, "too late", late=True),
        Throttled(LOAD, PREPARED, 9.0, exhausted=True, detail="429", executed=True),
        JobFailed(LOAD, "job-1", "ERROR"),
        Done(LOAD, "job-2", 5, 400, 3.5),
    ):
        metrics.settled(receipt)
    assert value(metrics, "executes_total", table="T") == 3


def test_a_topic_that_waits_is_counted_each_time_and_told_once_for_each_reason() -> None:
    metrics = Metrics()
    away = RegistryUnavailable("no answer", wait=1.0, hint="check schema_registry.url")
    with capture_logs() as lines:
        for error in (away, away, RegistryUnavailable("refused", wait=1.0), away):
            metrics.stalled("orders", error)
        metrics.decoded("T", message_batch(b"1"), decoded())
        metrics.decoded("T", message_batch(b"1"), decoded())
        metrics.stalled("orders", away)
    assert value(metrics, "stalls_total", topic="orders") == 5
    told = [(line["event"], line.get("error")) for line in lines]
    assert told == [
        ("paused topic", "no answer (check schema_registry.url)"),
        ("paused topic", "refused"),
        ("paused topic", "no answer (check schema_registry.url)"),
        ("resumed topic", None),
        ("paused topic", "no answer (check schema_registry.url)"),
    ]


def test_a_halted_table_is_an_error_for_a_person() -> None:
    with capture_logs() as lines:
        Metrics().halted("T", "403 on create (grant the permission)")
    expected = {
        "event": "halted table",
        "log_level": "error",
        "table": "T",
        "reason": "403 on create (grant the permission)",
    }
    assert lines == [expected]


def test_what_is_shown_is_exactly_what_the_catalog_lists() -> None:
    shown = {family.name: family for family in Metrics().registry.collect() if not family.name.startswith("process_")}
    assert shown.keys() == {PREFIX + metric.name for metric in METRICS}
    for metric in METRICS:
        family = shown[PREFIX + metric.name]
        assert (family.type, family.documentation) == (metric.kind, metric.text)


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_a_row_of_the_catalog_has_a_text_a_unit_in_its_name_and_labels_of_small_sets(metric: Metric) -> None:
    assert metric.text.endswith(".")
    assert metric.unit in ("", *metric.name.split("_"))
    assert set(metric.labels) <= {
        "table", "topic", "partition", "reason", "trigger", "status", "cause", "event", "operation", "outcome",
        "dependency",
    }  # fmt: skip
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)


def test_a_metric_that_the_catalog_does_not_have_as_such_cannot_be_made() -> None:
    for make, name in ((Instruments().counter, "nothing"), (Instruments().gauge, "jobs")):
        with pytest.raises(LookupError, match=f"the catalog has no [a-z]+ {name}"):
            make(name)


@pytest.mark.skipif(sys.platform != "linux", reason="the client library reads /proc")
def test_the_process_shows_its_memory() -> None:
    shown = {sample.name for family in Metrics().registry.collect() for sample in family.samples}
    assert PROCESS.keys() <= shown
