"""A real Prometheus reads what a running connector's port answers, and finds something for every expression of ours.

Prometheus comes like promtool; where it cannot be had these tests are skipped with the reason, on CI too.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from connector.observe.catalog import METRICS, PREFIX, PROCESS
from helm.generate import CHART
from tests.chart import promtool
from tests.chart.running import running
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from connector.demo.running import RunningConnector

BOARD = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
CHOSEN = {"$__rate_interval": "1m", "$job": "kafka-celonis", "$namespace": ".*"}
NEVER = {"lost_messages"}  # embedded brokers do not lose what was not read
AT_TIMES = {"paused_partitions"}  # whether any is held back at a given moment is not known


@pytest.fixture(scope="module")
def connector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConnector]:
    """A connector that has met a bit of everything."""
    with running(tmp_path_factory.mktemp("connector")) as made:
        wait_for(lambda: made.metrics().get("kafka_celonis_jobs_total", 0) >= 2, seconds=60)
        yield made


@contextmanager
def _prometheus(folder: Path, port: int) -> Iterator[str]:
    """Yield the address of a Prometheus that scrapes `port` once a second, with our alerts; skips without one."""
    try:
        program = promtool.prometheus()
    except promtool.MissingTool as e:
        pytest.skip(str(e))
    scrape = {"job_name": "kafka-celonis", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(CHART / "files" / "alerts.yaml")],
        "scrape_configs": [scrape],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        str(program),
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address={address}",
    ]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://{address}/api/v1"
        finally:
            process.terminate()
            process.wait()


def _ask(client: httpx.Client, url: str, query: str) -> list[Any]:
    """Return what Prometheus finds; nothing while it is not up."""
    try:
        answer = client.get(f"{url}/query", params={"query": query})
    except httpx.TransportError:
        return []
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return []
    document = answer.json()
    assert document["status"] == "success", document
    result: list[Any] = document["data"]["result"]
    return result


def _queries() -> Iterator[tuple[str, str]]:
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for name, value in CHOSEN.items():
                query = query.replace(name, value)
            yield panel["title"], query


def test_every_expression_of_the_dashboard_finds_something(connector: RunningConnector, tmp_path: Path) -> None:
    silent = {PREFIX + name for name in NEVER | AT_TIMES}
    with _prometheus(tmp_path, connector.port) as url, httpx.Client(trust_env=False) as client:
        scraped = 'count_over_time(kafka_celonis_pushes_left{job="kafka-celonis"}[1m]) > 2'
        wait_for(lambda: _ask(client, url, scraped))
        for title, query in _queries():
            found = _ask(client, url, query)
            assert found or any(f"{name}{{" in query for name in silent), (title, query)


def test_prometheus_evaluates_every_alert_as_the_file_has_it(connector: RunningConnector, tmp_path: Path) -> None:
    def health() -> set[str]:
        try:
            groups = client.get(f"{url}/rules").json()["data"]["groups"]
        except (httpx.TransportError, ValueError):  # not up yet
            return set()
        return {rule["health"] for group in groups for rule in group["rules"]} - {"unknown"}

    with _prometheus(tmp_path, connector.port) as url, httpx.Client(trust_env=False) as client:
        assert wait_for(health) == {"ok"}
        firing = 'ALERTS{alertname="KafkaCelonisRejects",table="ORDERS",alertstate="firing"}'
        assert wait_for(lambda: _ask(client, url, firing))


def test_a_refused_key_is_seen_before_the_process_ends(tmp_path: Path) -> None:
    with (
        running(tmp_path, key="another", faults=()) as refused,
        _prometheus(tmp_path, refused.port) as url,
        httpx.Client(trust_env=False) as client,
    ):
        firing = 'ALERTS{alertname="KafkaCelonisCredentialsRefused",alertstate="firing"}'
        assert wait_for(lambda: _ask(client, url, firing), seconds=60)
        assert refused.stop() == 5
        assert wait_for(lambda: not _ask(client, url, 'up{job="kafka-celonis"} == 1'))
        assert _ask(client, url, firing), "it outlives the process"


def test_a_running_connector_shows_what_the_catalog_lists_and_nothing_else(connector: RunningConnector) -> None:
    families = {f.name: f for f in text_string_to_metric_families(connector.get("/metrics"))}
    ours = {name: family for name, family in families.items() if not name.startswith("process_")}
    assert ours.keys() == {PREFIX + metric.name for metric in METRICS}
    silent = {name.removeprefix(PREFIX) for name, family in ours.items() if not family.samples}
    assert NEVER <= silent <= NEVER | AT_TIMES
    shown = {sample.name for family in families.values() for sample in family.samples}
    assert PROCESS.keys() <= shown or sys.platform != "linux", "the client library reads /proc"


def test_metrics_are_named_and_explained_as_prometheus_asks(connector: RunningConnector) -> None:
    try:
        code, said = promtool.run("check", "metrics", given=connector.get("/metrics").encode())
    except promtool.MissingTool as e:
        pytest.skip(str(e))
    assert (code, said) == (0, "")
