"""A real Prometheus reads what a connector's port answers, and finds something for every expression of ours.

Prometheus comes like promtool; where it cannot be had these tests are skipped with the reason, on CI too.
"""

from __future__ import annotations

import json
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from prometheus_client import Histogram, generate_latest

from connector.config import Observe
from connector.observe.health import Health
from connector.observe.metrics import Metrics
from connector.observe.server import ObserveServer
from helm.generate import CHART
from tests.chart import promtool
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOARD = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
CHOSEN = {"$__rate_interval": "1m", "$job": "kafka-celonis", "$namespace": ".*", "$budget": "240"}
REASONS = ("refused", "budget")  # that an expression of the dashboard asks for by name


def _told() -> Metrics:
    """Return metrics of which each has been told something, with every label that it has."""
    metrics = Metrics()
    instruments: list[Any] = list(metrics.registry._collector_to_names)
    for instrument in instruments:
        for value in REASONS if instrument._labelnames else ("",):
            one = instrument.labels(*[value] * len(instrument._labelnames)) if value else instrument
            one.observe(1) if isinstance(instrument, Histogram) else one.inc()
    return metrics


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    """The address of a Prometheus that scrapes a connector's port once a second, with our alerts."""
    try:
        program = promtool.prometheus()
    except promtool.MissingTool as e:
        pytest.skip(str(e))
    server = ObserveServer(Observe(host="127.0.0.1", port=0), Health(lambda: 0.0), _told().registry)
    scrape = {"job_name": "kafka-celonis", "static_configs": [{"targets": [f"127.0.0.1:{server.port}"]}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(CHART / "files" / "alerts.yaml")],
        "scrape_configs": [scrape],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        str(program),
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address={address}",
    ]
    server.start()
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://{address}/api/v1"
        finally:
            process.terminate()
            process.wait()
            server.stop()


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


def test_every_expression_of_the_dashboard_finds_something(prometheus: str) -> None:
    with httpx.Client(trust_env=False) as client:
        scraped = 'count_over_time(kafka_celonis_pushes_left{job="kafka-celonis"}[1m]) > 2'
        wait_for(lambda: _ask(client, prometheus, scraped))
        for panel in BOARD["panels"]:
            for target in panel.get("targets", ()):
                query = target["expr"]
                for name, value in CHOSEN.items():
                    query = query.replace(name, value)
                assert _ask(client, prometheus, query), (panel["title"], query)


def test_prometheus_evaluates_every_alert_as_the_file_has_it(prometheus: str) -> None:
    def health() -> set[str]:
        try:
            groups = client.get(f"{prometheus}/rules").json()["data"]["groups"]
        except (httpx.TransportError, ValueError):  # not up yet
            return set()
        return {rule["health"] for group in groups for rule in group["rules"]} - {"unknown"}

    with httpx.Client(trust_env=False) as client:
        assert wait_for(health) == {"ok"}
        firing = 'ALERTS{alertname="KafkaCelonisTableHalted",table="refused",alertstate="firing"}'
        assert wait_for(lambda: _ask(client, prometheus, firing))


def test_metrics_are_named_and_explained_as_prometheus_asks() -> None:
    try:
        code, said = promtool.run("check", "metrics", given=generate_latest(_told().registry))
    except promtool.MissingTool as e:
        pytest.skip(str(e))
    assert (code, said) == (0, "")
