"""Owns what stands on the Grafana dashboard: rows of panels, each with its question and its expressions.

Never asks Grafana or Prometheus. Invariant: every expression speaks only of metrics that the connector exports; one
that does not stops the making.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from connector.observe.catalog import METRICS, PROCESS

HERE = 'job=~"$job",namespace=~"$namespace"'  # what a person chose above the panels
_METRIC = re.compile(r"\b(?:kafka_celonis|process)_[a-z_]+")


class Panel(NamedTuple):
    """One picture: title, unit, what it tells, and expressions with their legends. `HERE` is put into empty braces."""

    title: str
    unit: str
    text: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    stacked: bool = False


def _quantile(q: float, name: str) -> str:
    return f"histogram_quantile({q}, sum by (le) (rate(kafka_celonis_{name}_bucket{{}}[$__rate_interval])))"


ROWS: dict[str, tuple[Panel, ...]] = {
    "At a glance": (
        Panel("Waits for a person", "none", "Tables that are halted, partitions that are held or stuck.", (
            ("sum(max by (table) (kafka_celonis_halted{}))", "halted tables"),
            ('sum(kafka_celonis_paused_partitions{reason=~"refused|data_loss"}) or vector(0)', "held partitions"),
            ("sum(kafka_celonis_stuck_partitions{})", "stuck partitions"),
        ), "stat"),
        Panel("Oldest record that waits", "s", "Since when it is read, and not in its table.", (
            ("max(kafka_celonis_staleness_seconds{})", ""),
        ), "stat"),
        Panel("Not in the tables", "short", "Messages behind the committed offsets.", (
            ("sum(kafka_celonis_committed_lag_messages{})", ""),
        ), "stat"),
        Panel("Pushes left this hour", "none", "As the replica that knows least sees it.", (
            ("min(kafka_celonis_pushes_left{})", ""),
        ), "stat"),
        Panel("Replicas that are ready", "none", "Taken in by the group, with all that they need, and not leaving.", (
            ("sum(kafka_celonis_ready{})", "ready"),
            ("sum(kafka_celonis_credentials_refused{})", "refused by Celonis"),
        ), "stat"),
        Panel("Spool in use", "percentunit", "Of its limit, where it is fullest.", (
            ("max(kafka_celonis_spool_bytes{} / kafka_celonis_spool_limit_bytes{})", ""),
        ), "stat"),
    ),
    "Budget": (
        Panel("Pushes left, and an even pace", "none", "Above the even pace there is something in reserve.", (
            ("kafka_celonis_pushes_left{}", "left, {{pod}}"),
            ("kafka_celonis_pushes_per_hour{} * (1 - (time() % 3600) / 3600)", "even pace, {{pod}}"),
        )),
        Panel("Pushes in an hour", "none", "Executes of the last hour, refused ones too.", (
            ("sum by (table) (increase(kafka_celonis_executes_total{}[1h]))", "{{table}}"),
        ), stacked=True),
        Panel("What waits for its turn", "short", "Weighted record-seconds: the table with the most goes next.", (
            ("sum by (table) (kafka_celonis_waiting_record_seconds{})", "{{table}}"),
        )),
        Panel("Next push, and waits", "s", "Until a push can be granted; pushes a minute that had to wait, by cause.", (
            ("kafka_celonis_next_push_seconds{}", "next push, {{pod}}"),
            ("sum by (cause) (rate(kafka_celonis_push_waits_total{}[$__rate_interval])) * 60", "waits, {{cause}}"),
        )),
        Panel("Ledger", "none", "1 while it cannot be trusted, or a replica paces by itself.", (
            ("max by (pod) (kafka_celonis_ledger_trouble{})", "trouble, {{pod}}"),
            ("max by (pod) (kafka_celonis_budget_alone{})", "alone, {{pod}}"),
        )),
    ),
    "Freshness": (
        Panel("Staleness by table", "s", "Since when the oldest record waits that is read, and not in the table.", (
            ("max by (table) (kafka_celonis_staleness_seconds{})", "{{table}}"),
        )),
        Panel("Lag by topic", "short", "Messages not consumed, and not surely in the tables.", (
            ("sum by (topic) (kafka_celonis_lag_messages{})", "not consumed, {{topic}}"),
            ("sum by (topic) (kafka_celonis_committed_lag_messages{})", "not committed, {{topic}}"),
        )),
        Panel("Partitions held back", "none", "By reason; refused, data_loss and halted wait for a person.", (
            ("sum by (reason) (kafka_celonis_paused_partitions{})", "{{reason}}"),
        ), stacked=True),
        Panel("Time held back", "percentunit", "Share of time in which a partition or more was held back.", (
            ("max by (reason) (rate(kafka_celonis_paused_seconds_total{}[$__rate_interval]))", "{{reason}}"),
        )),
        Panel("Stuck and lost", "none", "Partitions that do not move; messages gone before they were read.", (
            ("sum by (topic) (kafka_celonis_stuck_partitions{})", "stuck, {{topic}}"),
            ("sum by (topic) (kafka_celonis_lost_messages{})", "lost, {{topic}}"),
            ("sum by (topic) (rate(kafka_celonis_stalls_total{}[$__rate_interval]))", "stalls a second, {{topic}}"),
        )),
        Panel("What is missing", "none", "Replicas that miss it; of the topics, one or more that are named.", (
            ("sum by (dependency) (kafka_celonis_missing{})", "{{dependency}}"),
        ), stacked=True),
        Panel("Rebalances", "none", "In five minutes: partitions that came, went, or were lost.", (
            ("sum by (event) (increase(kafka_celonis_rebalances_total{}[5m]))", "{{event}}"),
        ), stacked=True),
    ),
    "Throughput": (
        Panel("Messages consumed", "ops", "A second, by topic.", (
            ("sum by (topic) (rate(kafka_celonis_consumed_messages_total{}[$__rate_interval]))", "{{topic}}"),
        ), stacked=True),
        Panel("Bytes consumed", "Bps", "Values of messages, by topic.", (
            ("sum by (topic) (rate(kafka_celonis_consumed_bytes_total{}[$__rate_interval]))", "{{topic}}"),
        ), stacked=True),
        Panel("Records decoded", "ops", "A second, by table.", (
            ("sum by (table) (rate(kafka_celonis_records_decoded_total{}[$__rate_interval]))", "{{table}}"),
        ), stacked=True),
        Panel("Rows pushed", "ops", "A second: upserted or appended, and deleted.", (
            ("sum by (table) (rate(kafka_celonis_pushed_rows_total{}[$__rate_interval]))", "{{table}}"),
            ("sum by (table) (rate(kafka_celonis_deleted_rows_total{}[$__rate_interval]))", "deleted, {{table}}"),
        ), stacked=True),
        Panel("Bytes pushed", "Bps", "Chunks of jobs that are DONE.", (
            ("sum by (table) (rate(kafka_celonis_pushed_bytes_total{}[$__rate_interval]))", "{{table}}"),
        ), stacked=True),
        Panel("Loads by trigger", "none", "In an hour: what made the connector flush.", (
            ("sum by (trigger) (increase(kafka_celonis_loads_total{}[1h]))", "{{trigger}}"),
        ), stacked=True),
    ),
    "Jobs": (
        Panel("Jobs by status", "none", "In five minutes.", (
            ("sum by (status) (increase(kafka_celonis_jobs_total{}[5m]))", "{{status}}"),
        ), stacked=True),
        Panel("Jobs by table", "none", "That are DONE, in five minutes.", (
            ('sum by (table) (increase(kafka_celonis_jobs_total{status="DONE"}[5m]))', "{{table}}"),
        ), stacked=True),
        Panel("How long a push takes", "s", "From the flush to DONE, and its parts.", (
            (_quantile(0.5, "push_seconds"), "push, median"),
            (_quantile(0.95, "push_seconds"), "push, 95 %"),
            (_quantile(0.95, "build_seconds"), "build, 95 %"),
            (_quantile(0.95, "upload_seconds"), "upload, 95 %"),
            (_quantile(0.95, "queue_seconds"), "queue, 95 %"),
            (_quantile(0.95, "run_seconds"), "run, 95 %"),
        )),
        Panel("How busy the pool is", "percentunit", "Share of time in which our jobs wait or run; near 1 it limits.", (
            ("sum(rate(kafka_celonis_queue_seconds_sum{}[15m]))", "queue"),
            ("sum(rate(kafka_celonis_run_seconds_sum{}[15m]))", "run"),
        ), stacked=True),
        Panel("Open intents", "none", "Partitions under a job; of them the oldest job's age in minutes.", (
            ("sum(kafka_celonis_open_intents{})", "partitions"),
            ("max(kafka_celonis_open_intent_age_seconds{}) / 60", "oldest, minutes"),
        )),
        Panel("Requests that were sent again", "none", "In five minutes, by operation and outcome; tokens that came.", (
            ("sum by (operation, outcome) (increase(kafka_celonis_retries_total{}[5m]))", "{{operation}}, {{outcome}}"),
            ("sum(increase(kafka_celonis_token_refreshes_total{}[5m]))", "tokens"),
        ), stacked=True),
        Panel("Size of chunks", "bytes", "As they were uploaded.", (
            (_quantile(0.5, "chunk_bytes"), "median"),
            (_quantile(0.95, "chunk_bytes"), "95 %"),
        )),
        Panel("Rows of chunks", "short", "As they were uploaded.", (
            (_quantile(0.5, "chunk_rows"), "median"),
            (_quantile(0.95, "chunk_rows"), "95 %"),
        )),
        Panel("Age at the flush", "s", "Of a load's first record.", (
            (_quantile(0.5, "load_age_seconds"), "median"),
            (_quantile(0.95, "load_age_seconds"), "95 %"),
        )),
    ),
    "Rejects": (
        Panel("Rejects", "none", "In five minutes, by table and reason.", (
            ("sum by (table, reason) (increase(kafka_celonis_rejects_total{}[5m]))", "{{table}}, {{reason}}"),
        ), stacked=True),
        Panel("Taken, but not as it came", "none", "In five minutes: tombstones ignored, dates nulled, strings cut.", (
            ("sum by (table) (increase(kafka_celonis_tombstones_total{}[5m]))", "tombstones, {{table}}"),
            ("sum by (table) (increase(kafka_celonis_nulled_dates_total{}[5m]))", "dates, {{table}}"),
            ("sum by (table) (increase(kafka_celonis_cut_strings_total{}[5m]))", "strings, {{table}}"),
        ), stacked=True),
    ),
    "Memory and disk": (
        Panel("Spool", "bytes", "On local disk, by replica, and the limit.", (
            ("kafka_celonis_spool_bytes{}", "{{pod}}"),
            ("max(kafka_celonis_spool_limit_bytes{})", "limit"),
        )),
        Panel("Memory", "bytes", "Of the process, and of it records; by replica.", (
            ("process_resident_memory_bytes{}", "process, {{pod}}"),
            ("kafka_celonis_memory_bytes{}", "records, {{pod}}"),
        )),
        Panel("CPU", "none", "Cores in use, by replica.", (
            ("rate(process_cpu_seconds_total{}[$__rate_interval])", "{{pod}}"),
        )),
        Panel("Buffers", "bytes", "Memory and disk, by table.", (
            ("sum by (table) (kafka_celonis_buffered_bytes{})", "{{table}}"),
        ), stacked=True),
        Panel("Records in buffers", "short", "By table, and the age of the oldest in seconds.", (
            ("sum by (table) (kafka_celonis_buffered_records{})", "{{table}}"),
            ("max by (table) (kafka_celonis_buffered_age_seconds{})", "age, {{table}}"),
        )),
    ),
}  # fmt: skip


def exported() -> set[str]:
    """Return the names of all series that `/metrics` can have, with their endings."""
    return {name for metric in METRICS for name in metric.series} | PROCESS.keys()


def named(text: str) -> set[str]:
    """Return the names of our series in `text`."""
    return set(_METRIC.findall(text))


def expression(query: str) -> str:
    """Return the expression of a query, for the job and the namespace that are chosen."""
    return re.sub(r"\{(?=[a-z]+=)", f"{{{HERE},", query).replace("{}", f"{{{HERE}}}")


def dashboard() -> str:
    """Return the dashboard as JSON; raises ValueError when an expression names what is not there."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row, members in ROWS.items():
        panels.append({"type": "row", "title": row, "gridPos": {"h": 1, "w": 24, "x": 0, "y": top}, "panels": []})
        top += 1
        wide, height = (4, 4) if all(p.kind == "stat" for p in members) else (12, 8)  # in Grafana's grid of 24
        for i, panel in enumerate(members):
            at = {"h": height, "w": wide, "x": i * wide % 24, "y": top + i * wide // 24 * height}
            panels.append(_panel(panel, at))
        top += -(-len(members) * wide // 24) * height
    for number, made in enumerate(panels, 1):
        made["id"] = number
    text = json.dumps(_frame(panels), indent=1, ensure_ascii=False) + "\n"
    if unknown := named(text) - exported():
        raise ValueError(f"no such metrics: {', '.join(sorted(unknown))}")
    return text


def _panel(panel: Panel, at: dict[str, int]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    custom = {"fillOpacity": 30 if panel.stacked else 0, "stacking": {"mode": "normal" if panel.stacked else "none"}}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "gridPos": at,
        "datasource": source,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0} | ({"custom": custom} if panel.kind == "timeseries" else {}),
            "overrides": [],
        },
        "options": {} if panel.kind == "stat" else {"tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": source, "expr": expression(query), "legendFormat": legend}
            for i, (query, legend) in enumerate(panel.queries)
        ],
    }


def _frame(panels: list[dict[str, Any]]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}

    def choice(name: str, query: str) -> dict[str, Any]:
        return {
            "type": "query", "name": name, "datasource": source, "refresh": 2, "includeAll": True, "multi": True,
            "allValue": ".*", "query": {"query": query, "refId": name}, "current": {"text": "All", "value": "$__all"},
        }  # fmt: skip

    variables: list[dict[str, Any]] = [
        {"type": "datasource", "name": "datasource", "query": "prometheus", "label": "Prometheus"},
        choice("namespace", "label_values(kafka_celonis_pushes_left, namespace)"),
        choice("job", 'label_values(kafka_celonis_pushes_left{namespace=~"$namespace"}, job)'),
    ]  # fmt: skip
    return {
        "uid": "kafka-celonis",
        "title": "Kafka to Celonis",
        "tags": ["kafka", "celonis"],
        "editable": True,
        "refresh": "30s",
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "templating": {"list": variables},
        "panels": panels,
    }
