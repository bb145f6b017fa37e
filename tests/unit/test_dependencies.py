"""What the service needs beside its brokers: who does not answer is named, and is asked again soon."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from connector.celonis.reach import Address
from connector.config import Celonis, Settings
from connector.config import SchemaRegistry as Registry
from connector.demo.registry import RegistryServer
from connector.demo.running import free_port
from connector.dependencies import AGAIN_SECONDS, ASK_SECONDS, LATE_SECONDS, Dependencies
from connector.errors import ConnectorError
from connector.kafka.registry import SchemaRegistry
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with RegistryServer() as started:
        yield started


def celonis(url: str, **more: object) -> Celonis:
    pool = "11111111-2222-3333-4444-555555555555"
    return Celonis.model_validate({"team_url": url, "pool_id": pool, "auth": {"app_key": "key"}, **more})


class Asked:
    """Something that is asked, and counts how often."""

    def __init__(self) -> None:
        self.reason = ""
        self.kind: type[Exception] = ConnectorError
        self.times = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self) -> None:
        assert self.may_answer.wait(30)
        self.times += 1
        if self.reason:
            raise self.kind(self.reason)


def test_what_has_not_answered_yet_is_missing_and_holds_nobody_up() -> None:
    asked = Asked()
    asked.may_answer.clear()
    found = Dependencies({"it": asked})
    early = LATE_SECONDS - 0.1
    assert found.missing(0.0) == found.missing(early) == {"it": "has not answered yet"}
    asked.may_answer.set()
    wait_for(lambda: not found.missing(early))
    assert asked.times == 1, "nobody is asked twice at once"


def test_a_question_that_hangs_is_missing_until_it_is_answered_though_all_was_well_before() -> None:
    asked = Asked()
    found = Dependencies({"it": asked})
    wait_for(lambda: not found.missing(0.0))
    asked.may_answer.clear()
    assert not found.missing(ASK_SECONDS)
    assert not found.missing(ASK_SECONDS + LATE_SECONDS - 0.1)
    assert found.missing(ASK_SECONDS + LATE_SECONDS) == {"it": "has not answered for 15 s"}
    assert found.missing(ASK_SECONDS + 99.0) == {"it": "has not answered for 99 s"}
    asked.may_answer.set()
    wait_for(lambda: not found.missing(ASK_SECONDS + 99.0))
    assert asked.times == 2, "nobody is asked twice at once"


def test_an_error_that_nobody_foresaw_is_a_reason_and_ends_nothing() -> None:
    asked = Asked()
    asked.reason, asked.kind = "label too long", UnicodeError
    found = Dependencies({"it": asked})
    wait_for(lambda: found.missing(0.0) == {"it": "UnicodeError: label too long"})
    asked.reason = ""
    wait_for(lambda: not found.missing(AGAIN_SECONDS))


def test_what_is_missing_is_asked_again_sooner_than_what_is_there() -> None:
    asked = Asked()
    found = Dependencies({"it": asked})
    wait_for(lambda: not found.missing(0.0))
    found.missing(ASK_SECONDS - 0.1)
    asked.reason = "no answer"
    wait_for(lambda: found.missing(ASK_SECONDS) == {"it": "no answer"})
    assert asked.times == 2
    asked.reason = ""
    wait_for(lambda: not found.missing(ASK_SECONDS + AGAIN_SECONDS))


def test_any_answer_but_a_fault_shows_that_it_is_there(registry: RegistryServer) -> None:
    asked = [Address(celonis(registry.url)).reach, SchemaRegistry(Registry(url=registry.url)).reach]
    for status in (200, 401, 404):
        registry.failing = (status, {})
        for reach in asked:
            reach()
    registry.failing = (503, {})
    for reach in asked:
        with pytest.raises(ConnectorError, match="503"):
            reach()


def test_an_address_where_nothing_listens_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    for reach in (Address(celonis(url)).reach, SchemaRegistry(Registry(url=url)).reach):
        with pytest.raises(ConnectorError, match=f"no answer from {url}"):
            reach()


def test_a_certificate_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="no answer"):
        Address(celonis("https://127.0.0.1:1", ca_file=tmp_path / "none.pem")).reach()


def test_of_settings_everything_is_asked_that_they_name(registry: RegistryServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings.model_validate(
        {
            "kafka": {"brokers": "127.0.0.1:1"},
            "celonis": celonis(f"http://127.0.0.1:{free_port()}"),
            "schema_registry": {"url": registry.url},
            "tables": [{"topics": ["a"], "target": "A", "format": "json"}],
            "spool": {"directory": str(tmp_path / "file" / "spool")},
        }
    )
    found = Dependencies.of(settings)
    wait_for(lambda: "has not answered yet" not in found.missing(0.0).values())
    missing = found.missing(0.0)
    assert missing.keys() == {"Celonis", "spool directory"}
    assert "cannot write to" in missing["spool directory"]
