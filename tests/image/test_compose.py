"""docker/compose.yaml against what it names: files, commands, settings, ports.

Our own services are started by test_image.py; those of others need their images.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from connector.cli import main
from connector.config_file import load
from connector.demo.process import ACTIVITIES, ORDERS
from connector.demo.producer import DEAD_LETTERS, PARTITIONS, produce
from connector.emulator.settings import DEFAULT_POOL
from tests.chart import promtool
from tests.image.dockerfile import PATH, ROOT, environment

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: s for name, s in SERVICES.items() if s["image"] == COMPOSE["x-ours"]["image"]}
MOUNTS: list[tuple[str, str, str]] = [
    (name, v.split(":")[0], v.split(":")[1]) for name, s in SERVICES.items() for v in s.get("volumes", ())
]
FILES = [mount for mount in MOUNTS if mount[1].startswith(".")]


def _mounted(service: str, target: str) -> Path:
    """Return the file that a service sees at `target`."""
    (source,) = (s for name, s, t in FILES if (name, t) == (service, target))
    return FOLDER / source


def _parsed(command: click.Command, arguments: list[str]) -> dict[str, Any]:
    """Return the options of a command line, without running it."""
    context = command.make_context(command.name or "", list(arguments))
    if not isinstance(command, click.Group):
        return context.params
    name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    assert found is not None, name
    return _parsed(found, rest)


def test_everything_that_the_trial_needs_is_there() -> None:
    assert set(SERVICES) == {"kafka", "registry", "emulator", "producer", "connector", "prometheus", "grafana"}
    assert set(OURS) == {"emulator", "producer", "connector"}


@pytest.mark.parametrize("mount", FILES, ids=lambda m: f"{m[0]} {m[1]}")
def test_every_file_that_is_mounted_exists(mount: tuple[str, str, str]) -> None:
    assert (FOLDER / mount[1]).is_file()


def test_every_volume_that_is_mounted_is_declared_and_the_reverse() -> None:
    assert {source for _, source, _ in MOUNTS if not source.startswith(".")} == set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_built_from_our_dockerfile_and_may_do_nothing_else(name: str) -> None:
    service = OURS[name]
    context = (FOLDER / service["build"]["context"]).resolve()
    assert context == ROOT
    assert context / service["build"]["dockerfile"] == PATH
    assert set(service["build"]["args"]) == {"BASE"}
    assert (service["read_only"], service["cap_drop"], service["tmpfs"]) == (True, ["ALL"], ["/tmp"])  # noqa: S108


def test_the_commands_are_those_of_the_command_line() -> None:
    assert _parsed(main, OURS["connector"]["command"])["path"] is not None
    emulator = _parsed(main, OURS["emulator"]["command"])
    assert (emulator["host"], emulator["port"]) == ("0.0.0.0", 9010)
    assert OURS["producer"]["entrypoint"] == ["python3", "-m", "connector.demo"]
    assert _parsed(produce, OURS["producer"]["command"])["brokers"] == "kafka:9092"


def test_the_connector_takes_its_settings_and_they_lead_to_the_other_services(tmp_path: Path) -> None:
    mounted = _mounted("connector", environment()["KAFKA_CELONIS_CONFIG"])
    key = tmp_path / "app-key"
    key.write_text("made-by-the-emulator")
    text = mounted.read_text(encoding="utf-8")
    assert "${file:/emulator/app-key}" in text
    (tmp_path / "connector.yaml").write_text(text.replace("/emulator/app-key", str(key)))
    settings = load(tmp_path / "connector.yaml", environment())
    assert settings.kafka.brokers == _parsed(produce, OURS["producer"]["command"])["brokers"]
    assert settings.schema_registry is not None
    assert settings.schema_registry.url == _parsed(produce, OURS["producer"]["command"])["registry"]
    assert str(settings.celonis.team_url).rstrip("/") == "http://emulator:9010"
    assert str(settings.celonis.pool_id) == DEFAULT_POOL
    assert settings.kafka.dead_letter_topic == DEAD_LETTERS
    assert {t for table in settings.tables for t in table.topics} == {ORDERS, ACTIVITIES} < set(PARTITIONS)
    grace = float(OURS["connector"]["stop_grace_period"].removesuffix("s"))
    assert grace > settings.drain_timeout + 18


def test_the_key_is_made_in_the_volume_where_the_connector_reads_it() -> None:
    volumes = {(name, target): source for name, source, target in MOUNTS}
    directory = str(_parsed(main, OURS["emulator"]["command"])["directory"])
    assert volumes["emulator", directory] == volumes["connector", "/emulator"] == "emulator"


def test_no_service_waits_for_one_that_is_not_there_or_does_not_say_how_it_is() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in SERVICES, name
            if how["condition"] == "service_healthy":
                said = SERVICES[other].get("healthcheck", {})
                assert "test" in said or (other in OURS and not said.get("disable")), other


def test_only_this_machine_reaches_the_trial() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_secret_and_no_address_of_a_registry_stands_in_the_files() -> None:
    texts = {p: p.read_text(encoding="utf-8") for p in [FOLDER / "compose.yaml", *(FOLDER / "compose").iterdir()]}
    for path, text in texts.items():
        assert not re.search(r"(?im)^[^#\n]*(password|secret|token|app_?key)\w*\s*[:=]\s*(?!\$\{)\S", text), path
    for name, service in SERVICES.items():
        if name not in OURS:
            image = re.fullmatch(r"\$\{[A-Z]+_IMAGE:-([a-z/-]+):[v\d.]+\}", service["image"])
            assert image, service["image"]
            assert "." not in image[1].partition("/")[0], "no host: the engine knows where images come from"


def test_prometheus_scrapes_the_connector_under_the_name_that_the_alerts_ask_for() -> None:
    settings = yaml.safe_load(_mounted("prometheus", "/etc/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    (scrape,) = settings["scrape_configs"]
    (static,) = scrape["static_configs"]
    assert static["targets"] == [f"connector:{environment()['KAFKA_CELONIS_HEALTH_URL'].split(':')[-1].split('/')[0]}"]
    (rules,) = settings["rule_files"]
    alerts = _mounted("prometheus", rules).read_text(encoding="utf-8")
    assert set(re.findall(r'job="([^"]+)"', alerts)) == {scrape["job_name"]}


def test_prometheus_takes_its_settings_and_the_alerts(tmp_path: Path) -> None:
    """The real one judges them, with the files where compose mounts them."""
    text = _mounted("prometheus", "/etc/prometheus/prometheus.yml").read_text(encoding="utf-8")
    alerts = _mounted("prometheus", "/etc/prometheus/alerts.yaml")
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/alerts.yaml", str(alerts)))
    try:
        code, told = promtool.run("check", "config", tmp_path / "prometheus.yml")
    except promtool.MissingTool as e:
        pytest.skip(str(e))
    assert code == 0, told
    assert "1 rule files found" in told


def test_grafana_finds_its_dashboard_and_prometheus() -> None:
    provisioning = "/etc/grafana/provisioning"
    sources = yaml.safe_load(_mounted("grafana", f"{provisioning}/datasources/kafka-celonis.yaml").read_text())
    assert [(s["type"], s["url"]) for s in sources["datasources"]] == [("prometheus", "http://prometheus:9090")]
    dashboards = yaml.safe_load(_mounted("grafana", f"{provisioning}/dashboards/kafka-celonis.yaml").read_text())
    folder = dashboards["providers"][0]["options"]["path"]
    (target,) = (t for name, _, t in FILES if name == "grafana" and t.startswith(folder))
    dashboard = json.loads(_mounted("grafana", target).read_text(encoding="utf-8"))
    assert dashboard["uid"]
    assert target.rpartition("/")[0] == folder
