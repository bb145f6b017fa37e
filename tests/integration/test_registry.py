"""The schema registry, asked by the real client over HTTP."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from connector.config import SchemaRegistry as Settings
from connector.demo.registry import RegistryServer
from connector.errors import ConfigError, RegistryUnavailable, UnknownSchema
from connector.kafka.registry import LONGEST_WAIT, UNKNOWN_SECONDS, SchemaRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Clock:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        yield server


def record(name: str, *types: str) -> dict[str, Any]:
    fields = [{"name": f"f{i}", "type": t} for i, t in enumerate(types)]
    return {"type": "record", "name": name, "fields": fields}


def reference(name: str, version: int = 1) -> dict[str, Any]:
    return {"name": name, "subject": name.lower(), "version": version}


def registry(url: str, clock: Clock | None = None, **changes: Any) -> SchemaRegistry:
    return SchemaRegistry(Settings.model_validate({"url": url, "timeout": 5, **changes}), clock or Clock())


def test_a_schema_is_asked_for_once(server: RegistryServer) -> None:
    number = server.register("orders-value", record("Order", "string"))
    asked = registry(server.url)
    assert asked.get(number) == (json.dumps(record("Order", "string")), ())
    assert asked.get(number) == asked.get(number)
    assert len(server.requests) == 1


def test_references_come_with_those_that_others_build_on_first(server: RegistryServer) -> None:
    server.register("a", record("A", "int"))
    server.register("b", record("B", "A"), [reference("A")])
    number = server.register("c", record("C", "B", "A"), [reference("B"), reference("A")])
    _, references = registry(server.url).get(number)
    assert [json.loads(text)["name"] for text in references] == ["A", "B"]


def test_an_unknown_id_is_unknown_and_not_asked_again_for_a_while(server: RegistryServer) -> None:
    clock = Clock()
    asked = registry(server.url, clock)
    for _ in range(3):
        with pytest.raises(UnknownSchema, match="schema 99"):
            asked.get(99)
    assert len(server.requests) == 1
    clock.now += UNKNOWN_SECONDS + 1
    with pytest.raises(UnknownSchema):
        asked.get(99)
    assert len(server.requests) == 2


def test_an_id_that_no_registry_can_have_is_unknown_without_asking(server: RegistryServer) -> None:
    with pytest.raises(UnknownSchema):
        registry(server.url).get(1 << 31)
    assert server.requests == []


def test_a_schema_that_is_not_avro_is_unknown_and_says_so(server: RegistryServer) -> None:
    number = server.register("p", 'syntax = "proto3";', schema_type="PROTOBUF")
    with pytest.raises(UnknownSchema, match="PROTOBUF"):
        registry(server.url).get(number)


def test_a_reference_that_is_gone_names_itself(server: RegistryServer) -> None:
    number = server.register("b", record("B", "A"), [reference("A", 7)])
    with pytest.raises(UnknownSchema, match="a version 7"):
        registry(server.url).get(number)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 400, 404])
def test_any_other_failure_keeps_the_messages_where_they_are(server: RegistryServer, status: int) -> None:
    server.failing = (status, "<html>nobody home</html>")
    with pytest.raises(RegistryUnavailable):
        registry(server.url).get(1)


@pytest.mark.parametrize("body", ["<html>log in first</html>", {}, []])
def test_an_answer_that_is_no_schema_is_not_believed_and_not_kept(server: RegistryServer, body: object) -> None:
    clock = Clock()
    number = server.register("orders", record("Order", "int"))
    asked = registry(server.url, clock)
    server.failing = (200, body)
    with pytest.raises(RegistryUnavailable):
        asked.get(number)
    server.failing = None
    clock.now += LONGEST_WAIT
    assert asked.get(number)


def test_the_wait_grows_is_kept_and_begins_anew_after_an_answer(server: RegistryServer) -> None:
    clock = Clock()
    number = server.register("orders", record("Order", "int"))
    asked = registry(server.url, clock)
    server.failing = (503, {"error_code": 50301, "message": "later"})
    waits = []
    for _ in range(7):
        with pytest.raises(RegistryUnavailable) as caught:
            asked.get(number)
        waits.append(caught.value.wait)
        clock.now += caught.value.wait
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    clock.now -= 10
    with pytest.raises(RegistryUnavailable) as caught:
        asked.get(number)
    assert caught.value.wait == 10
    assert len(server.requests) == 7, "nobody asks before the wait is over"
    server.failing = None
    clock.now += 10
    assert asked.get(number)
    server.failing = (503, {})
    with pytest.raises(RegistryUnavailable) as caught:
        asked.get(number + 1)
    assert caught.value.wait == 1


def test_a_known_schema_is_given_while_the_registry_is_away(server: RegistryServer) -> None:
    number = server.register("orders", record("Order", "int"))
    asked = registry(server.url)
    asked.get(number)
    server.failing = (503, {})
    with pytest.raises(RegistryUnavailable):
        asked.get(number + 1)
    assert asked.get(number)


def test_a_registry_that_hangs_costs_the_timeout_once() -> None:
    with RegistryServer() as server:
        server.hanging = 20
        asked = registry(server.url, timeout=0.3)
        started = time.monotonic()
        with pytest.raises(RegistryUnavailable, match="Timeout"):
            asked.get(1)
        assert time.monotonic() - started < server.hanging
        with pytest.raises(RegistryUnavailable):
            asked.get(1)
        assert len(server.requests) == 1


def test_a_registry_that_is_not_there_names_the_setting() -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{s.getsockname()[1]}"  # bound, and nobody listens
        with pytest.raises(RegistryUnavailable, match=r"schema_registry\.url"):
            registry(url).check()


def test_of_several_addresses_the_next_one_answers(server: RegistryServer) -> None:
    number = server.register("orders", record("Order", "int"))
    assert registry(f"http://127.0.0.1:1,{server.url}").get(number)


@pytest.mark.parametrize(
    "credentials",
    [{"basic_auth": {"username": "key", "password": "pass:word"}}, {"bearer_token": "token-1"}],
)
def test_credentials_are_accepted(credentials: dict[str, Any]) -> None:
    basic = ("key", "pass:word") if "basic_auth" in credentials else None
    with RegistryServer(basic_auth=basic, bearer="token-1") as server:
        assert "accepts us" in registry(server.url, **credentials).check()


@pytest.mark.parametrize(
    ("credentials", "setting"),
    [
        ({}, "must be set"),
        ({"basic_auth": {"username": "key", "password": "wr0ng"}}, "schema_registry.basic_auth"),
        ({"bearer_token": "wr0ng"}, "schema_registry.bearer_token"),
    ],
)
def test_wrong_credentials_hold_the_topic_and_name_the_setting(credentials: dict[str, Any], setting: str) -> None:
    with RegistryServer(basic_auth=("key", "right")) as server, pytest.raises(RegistryUnavailable) as caught:
        registry(server.url, **credentials).get(1)
    assert setting in caught.value.hint
    assert "wr0ng" not in str(caught.value)


def test_no_secret_is_in_an_error(server: RegistryServer) -> None:
    server.failing = (500, {"error_code": 50001, "message": "cannot log s3cret in"})
    for credentials in ({"basic_auth": {"username": "key", "password": "s3cret"}}, {"bearer_token": "s3cret"}):
        with pytest.raises(RegistryUnavailable) as caught:
            registry(server.url, **credentials).get(1)
        assert "s3cret" not in str(caught.value)


def test_certificates_that_cannot_be_read_are_a_problem_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"schema_registry\.ca_file"):
        registry("https://127.0.0.1:1", ca_file=str(tmp_path / "none.pem"))


def test_an_address_of_another_kind_is_a_problem_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"schema_registry\.url"):
        registry("http://127.0.0.1:1,ftp://127.0.0.1")
