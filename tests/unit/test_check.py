"""`check` tries everything once: against parts that answer, and against nothing at all."""

from __future__ import annotations

import socket
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from connector import check
from connector.check import Result, run_checks
from connector.config import Celonis, Settings
from connector.demo.registry import RegistryServer
from connector.emulator import Emulator, EmulatorSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kafka_broker import KafkaBroker

POOL, KEY = "11111111-2222-3333-4444-555555555555", "application-key"


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address on loopback that is ours and refuses every connection."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def settings_of(**parts: Any) -> Settings:
    base: dict[str, Any] = {"tables": [{"topics": ["orders"], "target": "T", "format": "json"}]}
    return Settings.model_validate(base | parts)


def celonis(url: str, key: str = KEY) -> dict[str, Any]:
    return {"team_url": url, "pool_id": POOL, "auth": {"app_key": key}, "request_timeout": 5}


@pytest.mark.kafka
def test_everything_that_run_needs_is_named_and_passes(
    kafka: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    topic, dead, ledger = kafka.create_topic(3), kafka.create_topic(), f"ledger-{uuid.uuid4().hex}"
    emulator = EmulatorSettings(tmp_path / "emulator", app_keys={KEY: [POOL]})
    with RegistryServer() as registry, Emulator(emulator) as platform:
        settings = settings_of(
            kafka={"brokers": kafka.bootstrap, "group": "checked", "dead_letter_topic": dead},
            schema_registry={"url": registry.url, "timeout": 5},
            celonis=celonis(platform.url),
            budget={"mode": "ledger", "ledger": {"topic": ledger}},
            tables=[{"topics": [topic], "target": "T", "format": "json"}],
            spool={"directory": tmp_path / "spool"},
        )
        results = list(run_checks(settings))
    assert [r.name for r in results] == [
        "Kafka brokers",
        f"topic {topic}",
        "group checked",
        "group checked.orders",
        f"dead-letter topic {dead}",
        f"ledger {ledger}",
        "schema registry",
        "Celonis key and pool",
        "spool directory",
    ]
    assert [r for r in results if not r.ok or r.fix] == []
    assert results[5].detail == "does not exist yet; the service creates it at its start"
    assert results[7].detail == f"accepted by {platform.url}, pool {POOL} has 0 jobs"


def test_each_failure_says_the_next_step_and_stops_no_other(tmp_path: Path, nowhere: str) -> None:
    (tmp_path / "file").write_text("not a directory")
    settings = settings_of(
        kafka={"brokers": nowhere, "dead_letter_topic": None},
        budget={"mode": "ledger"},
        schema_registry={"url": f"http://{nowhere}", "timeout": 1},
        celonis=celonis(f"http://{nowhere}"),
        spool={"directory": tmp_path / "file" / "spool"},
    )
    results = list(run_checks(settings))
    assert [r.name for r in results] == [
        "Kafka brokers",
        "topic orders",
        "group kafka-celonis",
        "group kafka-celonis.orders",
        "ledger kafka-celonis.budget",
        "schema registry",
        "Celonis key and pool",
        "spool directory",
    ]
    assert not any(r.ok for r in results)
    kafka, ledger, registry, pool, spool = results[0], *results[4:]
    assert "kafka.brokers" in kafka.fix
    assert "kafka.brokers" in ledger.fix
    assert "schema_registry" in registry.detail + registry.fix
    assert "celonis.team_url" in pool.fix
    assert pool.fix not in pool.detail
    assert "spool.directory: cannot write to" in spool.detail


@pytest.mark.parametrize(("key", "fix"), [("wrong", "celonis.auth"), ("no-permission", "Data Push API")])
def test_a_key_that_celonis_does_not_take_names_its_setting(
    key: str, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Emulator(EmulatorSettings(tmp_path / "emulator", app_keys={"no-permission": []})) as platform:
        result = pool_of(celonis(platform.url, key))
    assert not result.ok
    assert fix in result.fix
    assert key not in result.detail


def test_certificates_that_cannot_be_read_are_a_failure_like_any_other(tmp_path: Path) -> None:
    result = pool_of(celonis("https://team.invalid") | {"ca_file": tmp_path / "gone.pem"})
    assert not result.ok
    assert result.detail.startswith("celonis.ca_file: ")
    assert result.fix == "", "the problem says it"


def pool_of(settings: dict[str, Any]) -> Result:
    """Return what the check of Celonis finds."""
    return check._result("pool", lambda: check._pool(Celonis.model_validate(settings)))
