"""What is said of a plan: each finding with its cause, and silence where all is well."""

from __future__ import annotations

import math

import pytest

from connector.core.advice import Finding, findings, seconds, size
from connector.core.capacity import Demand, plan
from tests.unit.core.test_capacity import MIB, demand, limits


def said(*demands: Demand, pushes: int = 240, **changes: object) -> list[Finding]:
    return list(findings(plan(demands, limits(pushes, **changes))))


def the_one(*demands: Demand, pushes: int = 240, **changes: object) -> Finding:
    (finding,) = said(*demands, pushes=pushes, **changes)
    return finding


CALM = [demand(str(n), 100.0, policy={"age": 60.0}) for n in range(4)]  # just what the budget bears


def test_nothing_is_said_where_all_is_well() -> None:
    assert said(*CALM) == []


def test_a_deadline_shorter_than_a_push_and_a_slot_cannot_be_met() -> None:
    finding, starved, *_ = said(demand("T", max_staleness=10.0), *CALM[1:])
    assert not finding.met
    assert "1, 2, 3" in starved.text
    assert "max_staleness of T is too short" in finding.text
    assert finding.help == "20 s or more"


def test_deadlines_that_are_kept_are_not_spoken_of() -> None:
    assert said(demand("T", 100.0, max_staleness=100.0), *CALM[1:]) == []


def test_deadlines_that_are_missed_at_times_are_a_note() -> None:
    finding = the_one(demand("T", 100.0, max_staleness=40.0), demand("U", 100.0, max_staleness=65.0), demand("V", 0.01))
    assert finding.met
    assert "75% of all pushes: most can be kept" in finding.text
    assert "fewer tables with max_staleness" in finding.help


def test_deadlines_that_need_more_than_there_is_cannot_be_met_and_starve_the_others() -> None:
    asked = [demand(name, 1000, max_staleness=25.0) for name in "AB"]
    impossible, starved, *_ = said(*asked, *CALM)
    assert not impossible.met
    assert "200% of all pushes" in impossible.text
    assert not starved.met
    assert starved.text.startswith("0, 1, 2, 3: pushed when the spool is full only")


def test_a_spool_too_small_for_buffers_and_loads_cannot_do() -> None:
    finding = the_one(*CALM, spool_bytes=MIB)
    assert not finding.met
    assert "spool.bytes (1 MiB) is less than buffers and loads need (4.6 MiB)" in finding.text
    assert "raise spool.bytes to 5.7 MiB" in finding.help


def test_a_spool_too_small_for_an_hour_without_pushes_is_a_note() -> None:
    finding = the_one(*CALM, spool_bytes=50 * MIB)
    assert finding.met
    assert "full after 20 min" in finding.text
    assert "142 MiB lasts an hour" in finding.help


def test_a_push_that_takes_longer_than_a_slot_is_the_ceiling() -> None:
    (finding, *_) = said(*CALM, service=30.0)
    assert finding.met
    assert "a push takes 30 s with 1 at once: 120 pushes an hour, not 240" in finding.text
    assert "celonis.executes_in_flight" in finding.help


@pytest.mark.parametrize(
    ("pushes", "age", "helps"),
    [(120, 60.0, "raise budget.pushes_per_hour to 240"), (240, 10.0, "the team has 250")],
)
def test_ages_that_the_budget_does_not_bear_are_a_note_with_what_helps(pushes: int, age: float, helps: str) -> None:
    finding = the_one(*[demand(str(n), 100.0, policy={"age": age}) for n in range(4)], pushes=pushes)
    assert finding.met
    assert "flush.age of 0, 1, 2, 3 is shorter than the budget allows" in finding.text
    assert helps in finding.help


def test_a_table_held_back_by_its_own_settings_is_named() -> None:
    busy = demand("busy", 100_000, policy={"age": 600.0, "records": 10**9, "size": 1 << 50})
    crowd = [demand(str(n), 10.0) for n in range(6)]
    _, held = said(busy, *crowd, chunk_bytes=10**9, spool_bytes=1 << 50)
    assert "busy wait longer" in held.text
    assert "lower them" in held.help


def test_pushes_that_are_not_needed_are_told_with_the_age_they_allow() -> None:
    finding = the_one(demand("A", 100.0), demand("B", 100.0))
    assert finding == Finding(True, "120 pushes an hour are not needed", "flush.age may go down to 38 s")


def test_pushes_that_are_not_needed_are_not_told_where_age_has_no_part_in_it() -> None:
    assert said(demand("A", 100.0, policy={"records": 10_000, "age": 3600.0})) == []


def test_loads_of_many_chunks_are_a_note() -> None:
    finding = the_one(
        *CALM[1:], demand("A", 100_000, policy={"records": 10**9}), chunk_bytes=50 * MIB, spool_bytes=1 << 40
    )
    assert finding.text == "A: a load has up to 12 chunks of spool.chunk_bytes"


def test_tables_without_messages_are_named_and_many_are_counted() -> None:
    finding = the_one(*CALM, *[demand(f"T{n}", 0.0) for n in range(6)])
    assert finding.text == "no messages for T0, T1, T2, T3 and 2 more: planned without"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.25, "0.2 s"), (5, "5 s"), (80, "80 s"), (90, "1.5 min"), (3600, "60 min"), (7200, "2 h"), (math.inf, "never"),
     (10 * 86400, "10 d")],
)  # fmt: skip
def test_durations_for_people(value: float, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(640, "640 B"), (1536, "1.5 KiB"), (20 * MIB, "20 MiB"), (10 << 30, "10 GiB"), (math.inf, "unbounded")],
)
def test_sizes_for_people(value: float, text: str) -> None:
    assert size(value) == text
