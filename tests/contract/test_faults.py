"""Faults: what goes wrong, and whether the operation took effect before it did."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest

from connector.emulator import Hints
from tests.contract.api import WAIT, Api, parquet

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.conftest import Start


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("what", "status", "kind"),
    [
        ("504", 504, "application/json"),
        ("500", 500, "application/json"),
        ("400", 400, "application/json"),
        ("html", 200, "text/html; charset=utf-8"),
        ("html=502", 502, "text/html; charset=utf-8"),
        ("empty", 200, None),
        ("empty=503", 503, None),
    ],
)
def test_an_answer_that_lies_about_an_execute(
    start: Start, what: str, status: int, kind: str | None, when: str
) -> None:
    api = start(faults=[f"execute:2:{what}-{when}"], latencies={"run": 600}, executes_in_flight=9)
    jobs = [api.new("T") for _ in range(3)]
    answers = [api.execute(job) for job in jobs]
    assert [a.status_code for a in answers] == [200, status, 200]
    assert answers[1].headers.get("content-type") == kind
    assert api.get(jobs[1])["status"] in ({"NEW"} if when == "before" else {"QUEUED", "RUNNING"})


@pytest.mark.parametrize(("status", "fields"), [(400, {"errors"}), (500, {"reference", "message", "shortMessage"})])
def test_the_bodies_of_errors_are_those_of_the_contract(start: Start, status: int, fields: set[str]) -> None:
    api = start(faults=[f"create:1:{status}"])
    assert set(api.create("T").json()) == fields


@pytest.mark.parametrize(
    ("hints", "headers"), [(Hints.RATELIMIT, ["x-ratelimit-reset"]), (Hints.RETRY_AFTER, ["retry-after"])]
)
def test_an_injected_429_carries_the_hints(start: Start, hints: Hints, headers: list[str]) -> None:
    api = start(faults=["execute:1-2:429"], hints=hints, clock=lambda: 3600.0 * 100 + 3500)
    answer = api.execute(api.new("T"))
    assert [answer.headers.get(h) for h in headers] == ["100"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", ["cut", "timeout=0.05"])
def test_a_connection_that_is_cut_without_an_answer(start: Start, what: str, when: str) -> None:
    api = start(faults=[f"create:1:{what}-{when}", f"upload:1:{what}-{when}"])
    with pytest.raises(httpx.TransportError):
        api.create("T")
    created = api.request("GET", "/jobs/").json()
    assert len(created) == (when == "after")
    job = api.new("T")
    with pytest.raises(httpx.TransportError):
        api.upload(job, parquet(a=list(range(10_000))))
    assert len(api.request("GET", f"/jobs/{job}/chunks").json()) == (when == "after")


def test_a_timeout_ends_when_the_client_gives_up(start: Start) -> None:
    api = start(faults=["get:1:timeout=600"])
    job = api.new("T")
    with pytest.raises(httpx.ReadTimeout):
        api.request("GET", f"/jobs/{job}", timeout=0.1)
    assert api.get(job)["status"] == "NEW"


def test_a_slow_body_is_the_true_one(start: Start) -> None:
    api = start(faults=["status:1:slow=0.2"])
    job = api.new("T")
    began = time.monotonic()
    assert api.get(job)["id"] == job
    assert time.monotonic() - began >= 0.2


def test_a_slow_body_breaks_the_patience_of_a_client(start: Start) -> None:
    api = start(faults=["list:1:slow=60"])
    with pytest.raises(httpx.ReadTimeout):
        api.request("GET", "/jobs/", timeout=0.1)


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("create", lambda api, _: api.create("T")),
        ("list", lambda api, _: api.request("GET", "/jobs/")),
        ("get", lambda api, job: api.request("GET", f"/jobs/{job}")),
        ("upload", lambda api, job: api.upload(job, b"x")),
        ("list-chunks", lambda api, job: api.request("GET", f"/jobs/{job}/chunks")),
        ("execute", lambda api, job: api.execute(job)),
        ("cancel", lambda api, job: api.request("POST", f"/jobs/{job}/cancel")),
        ("delete", lambda api, job: api.request("DELETE", f"/jobs/{job}")),
        ("token", lambda api, _: api.http.post("/oauth2/token")),
    ],
)
def test_every_operation_can_fail(start: Start, operation: str, call: Callable[[Api, str], httpx.Response]) -> None:
    api = start()
    job = api.new("T")
    api.emulator.add_fault(f"{operation}:1+:503")
    assert call(api, job).status_code == 503


def test_a_latency_delays_an_operation(start: Start) -> None:
    api = start(latencies={"get": 0.1})
    job = api.new("T")
    began = time.monotonic()
    api.get(job)
    assert time.monotonic() - began >= 0.1


def test_an_execute_whose_answer_is_lost_runs_once(start: Start) -> None:
    api: Api = start(faults=["execute:1:504-after"])
    job = api.new("T")
    api.upload(job, parquet(a=[1]))
    assert api.execute(job).status_code == 504
    assert api.emulator.wait_idle(WAIT)
    assert api.get(job)["status"] == "DONE"
    assert api.execute(job).status_code == 400
    assert api.emulator.query("SELECT count(*) FROM T") == [(1,)]
