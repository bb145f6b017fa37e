"""Alerts, dashboard and the autoscaler's query speak of metrics that exist, and fire when they should and only then.

Firing is judged by promtool on the rules as the chart renders them. Where promtool cannot be had these tests are
skipped with the reason, on CI too: nothing promises it there.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from connector.observe.catalog import METRICS, PROCESS
from helm.generate import CHART
from helm.generate.dashboard import ROWS, dashboard, exported, expression, named
from tests.chart import promtool
from tests.chart.chart import at, example, one

if TYPE_CHECKING:
    from collections.abc import Iterator

ALERTS = (CHART / "files" / "alerts.yaml").read_text(encoding="utf-8")
BOARD = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
RULES_ON = at("prometheusRule.enabled", True)
OF_TARGETS = {"namespace", "job", "pod", "le"}  # labels that Prometheus or a histogram brings


def _rules(values: dict[str, Any] = RULES_ON) -> list[dict[str, Any]]:
    return [rule for group in one(values, "PrometheusRule")["spec"]["groups"] for rule in group["rules"]]


RULES = [rule for group in yaml.safe_load(ALERTS)["groups"] for rule in group["rules"]]


def _queries() -> Iterator[tuple[str, str]]:
    """Yield every expression and what it is written for."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    yield "autoscaling", one(example("autoscaling"), "ScaledObject")["spec"]["triggers"][0]["metadata"]["query"]


def _labels() -> dict[str, set[str]]:
    """Return the labels of each series."""
    ours = {name: set(metric.labels) for metric in METRICS for name in metric.series}
    return ours | {name: set() for name in PROCESS}


# --- names --------------------------------------------------------------------------------------------------------


def test_every_metric_of_every_expression_exists() -> None:
    for where, query in _queries():
        assert named(query), where
        assert named(query) <= exported(), where


def test_a_metric_that_is_not_there_would_be_noticed() -> None:
    assert not {"kafka_celonis_nothing", "kafka_celonis_jobs", "kafka_celonis_halted_total"} & exported()


def test_every_label_that_is_asked_for_is_on_the_metric() -> None:
    known = _labels()
    for where, query in _queries():
        own = set().union(*(known[name] for name in named(query)))
        asked = set(re.findall(r'(\w+)\s*(?:=~|!=|!~|=)\s*"', query))
        asked |= {label for by in re.findall(r"(?:by|on) \(([^)]+)\)", query) for label in by.split(", ")}
        assert asked <= own | OF_TARGETS, where


def test_every_panel_has_a_question_and_a_place_of_its_own() -> None:
    shown = [p for p in BOARD["panels"] if p["type"] != "row"]
    assert all(p["description"].endswith(".") for p in shown)
    taken: set[tuple[int, int]] = set()
    for p in BOARD["panels"]:
        at_ = p["gridPos"]
        cells = {(x, y) for x in range(at_["x"], at_["x"] + at_["w"]) for y in range(at_["y"], at_["y"] + at_["h"])}
        assert not cells & taken, p["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_a_panel_over_a_metric_that_is_not_there_stops_the_making(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = ROWS["Budget"][0]._replace(queries=(("kafka_celonis_nothing{}", ""),))
    monkeypatch.setitem(ROWS, "Budget", (panel,))
    with pytest.raises(ValueError, match="no such metrics: kafka_celonis_nothing"):
        dashboard()


# --- what an operator gets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_says_how_urgent_it_is_what_is_seen_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert re.fullmatch(r"README\.md#[a-z-]+", rule["annotations"]["runbook_url"])


def test_every_alert_has_a_paragraph_in_the_runbook_and_the_reverse() -> None:
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in _runbook()}
    assert anchors == {rule["annotations"]["runbook_url"].partition("#")[2] for rule in RULES}


def test_every_paragraph_of_the_runbook_answers_four_questions_once_and_in_order() -> None:
    for title, text in _runbook().items():
        asked = re.findall(r"\*\*(Seen|Why|Do|Safe)\.\*\* [^*]{10,}", text)
        assert asked == ["Seen", "Why", "Do", "Safe"], title


def _runbook() -> dict[str, str]:
    """Return the paragraphs of the runbook by their titles."""
    runbook = README.partition("\n## Runbook\n")[2].partition("\n## ")[0]
    found: dict[str, str] = dict(re.findall(r"^### (.+)$\n((?:(?!^###).*\n)+)", runbook, re.MULTILINE))
    return found


def test_thresholds_series_routing_and_the_runbook_are_put_into_the_rules() -> None:
    rules = {rule["alert"]: rule for rule in _rules(example("prometheus-rule"))}
    assert rules.keys() == {rule["alert"] for rule in RULES} - {"KafkaCelonisPoolBusy"}
    assert rules["KafkaCelonisStale"]["expr"].endswith("> 600")
    assert "> 50000" in rules["KafkaCelonisLagGrows"]["expr"]
    for rule in rules.values():
        assert 'job="kafka-celonis"' not in rule["expr"]
        assert rule["expr"].count('namespace="data",job="my"') == len(
            re.findall(r"kafka_celonis_[a-z_]+\{", rule["expr"])
        )
        assert rule["labels"]["team"] == "process-mining"
        assert rule["annotations"]["runbook_url"].startswith("https://wiki.example.com/kafka-celonis#")


def test_each_threshold_stands_once_in_the_file_that_it_is_replaced_in() -> None:
    rules = ALERTS.partition("groups:")[2]
    assert [rules.count(token) for token in ("> 1800", "> 10000")] == [1, 1]


def test_monitors_make_the_label_that_the_rules_ask_for() -> None:
    for name, kind in (("service-monitor", "ServiceMonitor"), ("pod-monitor", "PodMonitor")):
        spec = one(example(name), kind)["spec"]
        assert spec["jobLabel"] == "app.kubernetes.io/instance"
        assert spec["selector"]["matchLabels"][spec["jobLabel"]] == "my"


# --- judged by promtool -------------------------------------------------------------------------------------------


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    """A folder with `rules.yaml` as the chart renders it; skips where there is no promtool."""
    try:
        promtool.promtool()
    except promtool.MissingTool as e:
        pytest.skip(str(e))
    groups = one(RULES_ON, "PrometheusRule")["spec"]["groups"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    return tmp_path


def test_prometheus_takes_the_rules_from_the_chart_and_from_the_file(judge: Path) -> None:
    for path in (judge / "rules.yaml", CHART / "files" / "alerts.yaml"):
        code, said = promtool.run("check", "rules", path)
        assert (code, f"SUCCESS: {len(RULES)} rules found" in said) == (0, True), said


def test_prometheus_understands_every_expression_of_the_dashboard(judge: Path) -> None:
    chosen = {"$__rate_interval": "5m", "$job": ".*", "$namespace": ".*"}
    rules = []
    for i, (_, query) in enumerate(_queries()):
        for name, value in chosen.items():
            query = query.replace(name, value)  # noqa: PLW2901 - one after the other
        rules.append({"record": f"query_{i}", "expr": query})
    (judge / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    code, said = promtool.run("check", "rules", judge / "queries.yaml")
    assert code == 0, said


def _series(name: str, values: str, **labels: str) -> dict[str, str]:
    """Return one series as the release's pod my-0 has it, a sample a minute."""
    own = {"namespace": "data", "job": "my", "pod": "my-0", **labels}
    inside = ",".join(f'{key}="{value}"' for key, value in own.items())
    return {"series": f"kafka_celonis_{name}{{{inside}}}", "values": values}


def _paused(reason: str, partitions: str) -> dict[str, str]:
    return _series("paused_partitions", partitions, reason=reason)


def _missing(dependency: str, values: str) -> dict[str, str]:
    return _series("missing", values, dependency=dependency)


_AGAIN = " ".join(["0 _ _ _"] * 6)  # a sample at each start, every four minutes


def _lag(values: str) -> dict[str, str]:
    return _series("committed_lag_messages", values, topic="orders", partition="0")


def _lost(values: str) -> dict[str, str]:
    return _series("lost_messages", values, topic="orders")


def _executed(each: float, jobs: float, minutes: int) -> tuple[dict[str, str], ...]:
    """Return histograms of `jobs` a minute that take `each` seconds, a quarter of them in the queue."""
    return (
        _series("queue_seconds_sum", f"0+{each * jobs / 4}x{minutes}", table="T"),
        _series("run_seconds_sum", f"0+{each * jobs * 3 / 4}x{minutes}", table="T"),
        _series("run_seconds_count", f"0+{jobs}x{minutes}", table="T"),
    )


def _spool(gibibytes: float) -> tuple[dict[str, str], ...]:
    """Return a spool that holds as much, of ten."""
    return _series("spool_bytes", f"{gibibytes * 2**30:.0f}x12"), _series("spool_limit_bytes", f"{10 * 2**30}x12")


class Case(NamedTuple):
    """At a minute, with these series, exactly these alerts fire; `ready`: some replica is."""

    minute: int
    series: tuple[dict[str, str], ...]
    fires: set[str]
    ready: bool = True


CASES = {
    "all is well": Case(
        240, (_series("halted", "0x240", table="T"), _lost("0x240"), _lag("5x240"), *_executed(5, 4, 240)), set()
    ),
    "nobody is there for five minutes": Case(6, (), {"NoReplicaReady"}, ready=False),
    "nobody is there for a moment": Case(3, (), set(), ready=False),
    "all are there and the group takes nobody in": Case(6, (_series("ready", "0x6"),), {"NoReplicaReady"}, ready=False),
    "one of two is not ready": Case(6, (_series("ready", "0x6", pod="my-1"),), set()),
    "the key was refused once, and the process ended": Case(
        10, (_series("credentials_refused", "0 0 0 1 _x7"),), {"CredentialsRefused"}
    ),
    "the key is refused at each start": Case(
        30, (_series("credentials_refused", " ".join(["0", "1", *["_"] * 6] * 4)),), {"CredentialsRefused"}
    ),
    "the key was refused, and is accepted since": Case(40, (_series("credentials_refused", "1 _x4 0x35"),), set()),
    "a table is halted": Case(5, (_series("halted", "0 0 0 1 1 1", table="T"),), {"TableHalted"}),
    "messages were gone": Case(5, (_paused("data_loss", "1x5"),), {"PartitionsHeld"}),
    "a partition is refused": Case(5, (_paused("refused", "2x5"),), {"PartitionsHeld"}),
    "a drain holds partitions": Case(240, (_paused("draining", "2x240"),), set()),
    "messages were gone and others are read": Case(5, (_lost("0 7 7 7 7 7"),), {"MessagesLost"}),
    "a partition is stuck": Case(8, (_series("stuck_partitions", "1x8", topic="orders"),), {"PartitionsStuck"}),
    "a partition was stuck for a moment": Case(8, (_series("stuck_partitions", "1 1 1 0x5", topic="orders"),), set()),
    "a job runs on and on": Case(62, (_series("open_intent_age_seconds", "0+60x62"),), {"IntentWaits"}),
    "jobs follow each other": Case(100, (_series("open_intent_age_seconds", "0+60x50 0+60x50"),), set()),
    "a job that was found runs": Case(40, (_paused("intent", "1x40"),), set()),
    "only Celonis is away": Case(
        12, (_series("ready", "0x12"), _missing("celonis", "1x12")), {"DependencyAway"}, ready=False
    ),
    "only Celonis has been away for some minutes": Case(
        8, (_series("ready", "1 1 0x6"), _missing("celonis", "0 0 1x6")), set(), ready=False
    ),
    "Celonis was away for some minutes": Case(20, (_missing("celonis", "0x5 1x5 0x9"),), set()),
    "Celonis is away, and so is the ledger": Case(
        12,
        (_series("ready", "0x12"), _missing("celonis", "1x12"), _missing("ledger", "1x12")),
        {"NoReplicaReady", "DependencyAway"},
        ready=False,
    ),
    "the pod ends again and again while Celonis is away": Case(
        20, (_series("ready", _AGAIN), _missing("celonis", _AGAIN.replace("0", "1"))), {"DependencyAway"}, ready=False
    ),
    "the pod ends again and again, and had not heard of Celonis once": Case(
        20, (_series("ready", _AGAIN), _missing("celonis", "1 _ _ _ " + _AGAIN)), {"NoReplicaReady"}, ready=False
    ),
    "the brokers are away": Case(
        12, (_series("ready", "0x12"), _missing("brokers", "1x12")), {"NoReplicaReady", "DependencyAway"}, ready=False
    ),
    "a topic is not there": Case(12, (_missing("topics", "1x12"),), {"DependencyAway"}),
    "the ledger cannot be read at the start": Case(
        12, (_missing("ledger", "1x12"), _series("ready", "0x12")), {"NoReplicaReady"}, ready=False
    ),
    "the registry is away": Case(12, (_paused("stalled", "3x12"),), {"DependencyAway"}),
    "the registry was away for a moment": Case(12, (_paused("stalled", "3x6 _x6"),), set()),
    "a record waits for an hour": Case(70, (_series("staleness_seconds", "0+60x70", table="T"),), {"Stale"}),
    "a record waits for ten minutes": Case(70, (_series("staleness_seconds", "600x70", table="T"),), set()),
    "the lag grows by 30,000 in an hour": Case(180, (_lag("20000+500x180"),), {"LagGrows"}),
    "the lag goes up and down by 30,000 with each push": Case(
        180, (_lag(" ".join(str(30_000 * (i % 5 + i // 90) // 5) for i in range(181))),), set()
    ),
    "the lag is large and shrinks": Case(180, (_lag("900000-1000x180"),), set()),
    "the lag is small and grows": Case(180, (_lag("0+50x180"),), set()),
    "the budget paused half of three hours": Case(
        185, (_series("paused_seconds_total", "0+30x185", reason="budget"),), {"BudgetExhausted"}
    ),
    "the budget paused for some minutes": Case(
        185, (_series("paused_seconds_total", "0+2x185", reason="budget"),), set()
    ),
    "the budget paused twenty minutes of each hour": Case(
        185,
        (
            _series(
                "paused_seconds_total", "0x39 60+60x20 1260x39 1320+60x20 2520x39 2580+60x20 3780x6", reason="budget"
            ),
        ),
        {"BudgetExhausted"},
    ),
    "the budget paused most of one hour": Case(
        185, (_series("paused_seconds_total", "0x99 60+60x45 2760x40", reason="budget"),), set()
    ),
    "a drain paused half of three hours": Case(
        185, (_series("paused_seconds_total", "0+30x185", reason="draining"),), set()
    ),
    "the ledger cannot be trusted": Case(12, (_series("ledger_trouble", "1x12"),), {"LedgerTrouble"}),
    "the ledger is read at the start": Case(12, (_series("ledger_trouble", "1 1 0x10"),), set()),
    "the first message is rejected": Case(
        120, (_series("rejects_total", "_x118 1 1", table="T", reason="not_json"),), {"Rejects"}
    ),
    "one more message is rejected": Case(
        120, (_series("rejects_total", "5x110 6x10", table="T", reason="not_json"),), {"Rejects"}
    ),
    "messages were rejected two hours ago": Case(
        120, (_series("rejects_total", "5x120", table="T", reason="not_json"),), set()
    ),
    "two jobs fail": Case(120, (_series("jobs_total", "_x110 1x5 2x5", table="T", status="ERROR"),), {"JobsFail"}),
    "one job fails": Case(120, (_series("jobs_total", "_x110 1x10", table="T", status="ERROR"),), set()),
    "many jobs are done": Case(120, (_series("jobs_total", "0+4x120", table="T", status="DONE"),), set()),
    "few jobs take six minutes each": Case(120, _executed(360, 0.05, 120), {"JobsSlow"}),
    "jobs of 14 seconds follow each other": Case(120, _executed(14, 4, 120), {"PoolBusy"}),
    "the spool holds nine of ten gigabytes": Case(12, _spool(9), {"SpoolFills"}),
    "the spool holds seven of ten gigabytes": Case(12, _spool(7), set()),
    "the spool is full": Case(12, (*_spool(10), _paused("spool", "4x12")), {"SpoolFills", "SpoolFull"}),
    "another release is halted": Case(5, (_series("halted", "1x5", table="T", job="other"),), set()),
}


def test_every_alert_fires_in_some_case() -> None:
    fired = {f"KafkaCelonis{name}" for case in CASES.values() for name in case.fires}
    assert fired == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_every_alert_keeps_quiet_in_some_case_that_is_about_its_metric(rule: dict[str, Any]) -> None:
    quiet = [case for case in CASES.values() if rule["alert"].removeprefix("KafkaCelonis") not in case.fires]
    assert any(named(rule["expr"]) & named(series["series"]) for case in quiet for series in case.series)


def test_alerts_fire_when_they_should_and_only_then(judge: Path) -> None:
    query = 'count by (alertname) (ALERTS{alertstate="firing"})'
    tests = []
    for name, case in CASES.items():
        ready = _series("ready", f"1x{case.minute}")
        samples = [{"labels": f'{{alertname="KafkaCelonis{fires}"}}', "value": 1} for fires in sorted(case.fires)]
        tests.append({
            "name": name,
            "interval": "1m",
            "input_series": [*case.series, *([ready] if case.ready else [])],
            "promql_expr_test": [{"expr": query, "eval_time": f"{case.minute}m", "exp_samples": samples}],
        })  # fmt: skip
    _judged(judge, tests)


def test_the_autoscaler_sees_the_lag_but_not_that_of_replicas_that_hold_partitions_back(judge: Path) -> None:
    query = one(example("autoscaling"), "ScaledObject")["spec"]["triggers"][0]["metadata"]["query"]

    def lag(pod: str, messages: int) -> dict[str, str]:
        return _series("lag_messages", f"{messages}x5", pod=pod, topic="orders", partition=pod[-1])

    def held(pod: str, reason: str) -> dict[str, str]:
        return _series("paused_partitions", "1x5", pod=pod, reason=reason)

    cases: dict[str, tuple[list[dict[str, str]], int]] = {
        "all of it while they are free": ([lag("my-0", 1000), lag("my-1", 500)], 1500),
        "not that of one whom the budget holds": ([lag("my-0", 1000), held("my-0", "budget"), lag("my-1", 500)], 500),
        "nothing while all are held": ([lag("my-0", 1000), held("my-0", "spool")], 0),
        "nothing while nobody is there": ([], 0),
    }
    _judged(judge, [
        {
            "name": name,
            "interval": "1m",
            "input_series": series,
            "promql_expr_test": [{"expr": query, "eval_time": "3m", "exp_samples": [{"labels": "{}", "value": value}]}],
        }
        for name, (series, value) in cases.items()
    ])  # fmt: skip


def _judged(folder: Path, tests: list[dict[str, Any]]) -> None:
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "tests.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    code, said = promtool.run("test", "rules", folder / "tests.yaml")
    assert code == 0, said


def test_an_expression_of_the_dashboard_is_for_the_job_and_the_namespace_that_are_chosen() -> None:
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            braces = re.findall(r"(?:kafka_celonis|process)_[a-z_]+(\{[^}]*\}|)", target["expr"])
            assert all('job=~"$job",namespace=~"$namespace"' in b for b in braces), panel["title"]
    assert expression('a{} + a{reason="b"}').count('job=~"$job"') == 2
