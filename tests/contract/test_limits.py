"""Limits on executes (data-push-api.md, "Limits")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from connector.emulator import Emulator, EmulatorSettings, Hints
from tests.contract.api import KEY, OTHER_POOL, POOL, WAIT, Api

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.conftest import Start

HOUR = 1_700_002_800.0  # 23:00 UTC
YEAR = 1_767_225_600.0  # 2026-01-01T00:00Z, where fast clocks agree with the true one


class Clock:
    """A clock to be set."""

    def __init__(self, now: float = HOUR) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def execute(api: Api) -> int:
    """Execute an empty job of its own to the end and return the status of the answer."""
    status = api.execute(api.new("T")).status_code
    assert api.emulator.wait_idle(WAIT)
    return status


def test_250_executes_in_a_full_utc_hour_and_no_more(start: Start, clock: Clock) -> None:
    api = start(clock=clock, per_second=100_000)
    clock.now = HOUR + 3599.5
    assert [execute(api) for _ in range(250)] == [200] * 250
    assert [execute(api) for _ in range(3)] == [429] * 3
    clock.now = HOUR + 3600
    assert execute(api) == 200


def test_ten_executes_in_a_second_and_no_more(start: Start, clock: Clock) -> None:
    api = start(clock=clock)
    assert [execute(api) for _ in range(12)] == [200] * 10 + [429] * 2
    clock.now += 1
    assert execute(api) == 200


def test_a_refused_execute_counts_too(start: Start, clock: Clock) -> None:
    api = start(clock=clock, per_hour=4)
    job = api.new("T")
    assert api.execute(job).status_code == 200
    assert api.emulator.wait_idle(WAIT)
    assert api.execute(job).status_code == 400
    assert api.execute("00000000-0000-4000-8000-000000000000").status_code == 404
    assert [execute(api) for _ in range(2)] == [200, 429]
    counted = api.http.get("/emulator/requests").json()["executes"]
    assert counted == {"2023-11-14T23": {"accepted": 2, "refused": 3, "faulted": 0}}


def test_the_limit_is_the_teams_over_all_pools(start: Start, clock: Clock) -> None:
    api = start(clock=clock, per_hour=2, app_keys={KEY: [POOL], "second": [OTHER_POOL]})
    other = Api(api.emulator, pool=OTHER_POOL, authorization="AppKey second")
    with other.http:
        assert [execute(api), execute(other), execute(other), execute(api)] == [200, 200, 429, 429]


def test_only_executes_are_limited(start: Start) -> None:
    api = start(per_hour=0, per_second=0)
    job = api.new("T")
    assert api.get(job)["status"] == "NEW"
    assert api.execute(job).status_code == 429
    assert api.get(job)["status"] == "NEW"
    assert api.request("POST", f"/jobs/{job}/cancel").status_code == 200


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        (Hints.RATELIMIT, {"x-ratelimit-limit": "1", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800"}),
        (Hints.RETRY_AFTER, {"retry-after": "1800"}),
        (Hints.NONE, {}),
    ],
)
def test_a_429_says_how_long_to_wait_or_nothing(
    start: Start, clock: Clock, hints: Hints, expected: dict[str, str]
) -> None:
    api = start(clock=clock, per_hour=1, hints=hints)
    clock.now = HOUR + 1800.5
    execute(api)
    answer = api.execute(api.new("T"))
    assert answer.status_code == 429
    said = {name: value for name, value in answer.headers.items() if "ratelimit" in name or name == "retry-after"}
    assert said == expected


def test_the_hours_count_survives_a_restart(tmp_path: Path, clock: Clock) -> None:
    settings = EmulatorSettings(tmp_path, app_keys={KEY: [POOL]}, clock=clock, per_hour=3)
    for expected in ([200, 200], [200, 429]):
        with Emulator(settings) as running:
            api = Api(running)
            with api.http:
                assert [execute(api) for _ in range(2)] == expected


@pytest.mark.parametrize(("in_flight", "expected"), [(1, [200, 409, 409]), (2, [200, 200, 409])])
def test_a_second_execute_in_flight_is_refused_per_pool(start: Start, in_flight: int, expected: list[int]) -> None:
    api = start(latencies={"run": 600}, executes_in_flight=in_flight, app_keys={KEY: [POOL, OTHER_POOL]})
    jobs = [api.new("T") for _ in expected]
    assert [api.execute(job).status_code for job in jobs] == expected
    assert api.get(jobs[2])["status"] == "NEW"
    other = Api(api.emulator, pool=OTHER_POOL)
    with other.http:
        assert other.execute(other.new("T")).status_code == 200


def test_after_409_the_same_execute_works_later(start: Start) -> None:
    api = start(latencies={"run": 600})
    first, second = api.new("T"), api.new("T")
    assert api.execute(first).status_code == 200
    assert api.execute(second).status_code == 409
    api.request("POST", f"/jobs/{first}/cancel")
    assert api.execute(second).status_code == 200


def test_at_sixty_times_the_speed_an_hour_passes_in_a_true_minute(start: Start, clock: Clock) -> None:
    clock.now = YEAR + 60
    api = start(clock=clock, clock_speed=60, per_hour=2)
    assert [execute(api) for _ in range(3)] == [200, 200, 429]
    clock.now = YEAR + 119.9
    assert execute(api) == 429
    clock.now = YEAR + 120
    assert execute(api) == 200
    counted = api.http.get("/emulator/requests").json()["executes"]
    assert counted == {
        "2026-01-01T01": {"accepted": 2, "refused": 2, "faulted": 0},
        "2026-01-01T02": {"accepted": 1, "refused": 0, "faulted": 0},
    }


def test_at_sixty_times_the_speed_a_second_passes_in_its_sixtieth(start: Start, clock: Clock) -> None:
    clock.now = YEAR
    api = start(clock=clock, clock_speed=60, per_second=1)
    assert [execute(api) for _ in range(2)] == [200, 429]
    clock.now += 1.5 / 60
    assert execute(api) == 200


def test_a_fast_clock_dates_the_jobs(start: Start, clock: Clock) -> None:
    clock.now = YEAR + 10
    api = start(clock=clock, clock_speed=60)
    assert api.get(api.new("T"))["lastModified"] == (YEAR + 600) * 1000


@pytest.mark.parametrize("faults", [[], ["execute:2:429"]], ids=["limited", "injected"])
def test_a_429_says_the_wait_in_true_seconds_however_fast_the_clock(
    start: Start, clock: Clock, faults: list[str]
) -> None:
    clock.now = YEAR + 15.5
    api = start(clock=clock, clock_speed=60, per_hour=1, faults=faults)
    assert execute(api) == 200
    answer = api.execute(api.new("T"))
    assert (answer.status_code, answer.headers["x-ratelimit-reset"]) == (429, "45")


def test_counters_tell_jobs_and_operations(start: Start, clock: Clock) -> None:
    api = start(clock=clock, faults=["execute:2:504"])
    for _ in range(2):
        execute(api)
    told: dict[str, Any] = api.http.get("/emulator/requests").json()
    assert told["jobs"] == {"DONE": 1, "NEW": 1}
    assert told["operations"]["create"] == 2
    assert told["executes"] == {"2023-11-14T23": {"accepted": 1, "refused": 0, "faulted": 1}}
