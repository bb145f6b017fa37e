"""The order of the pushes: whose turn it is, why, and which deadlines can be kept."""

from __future__ import annotations

import math

import pytest

from connector.core.flush import Trigger
from connector.core.schedule import Candidate, Choice, Verdict, bid, choose, feasibility

NOW, SLOT, SERVICE = 1000.0, 10.0, 5.0


def table(
    name: str,
    *,
    rows: int = 1,
    waits: float = 1.0,
    size: int = 1,
    trigger: Trigger | None = Trigger.AGE,
    weight: float = 1.0,
    late_in: float | None = None,
    replay: bool = False,
) -> Candidate:
    """A table whose rows came all at once, `waits` seconds ago, and miss their deadline in `late_in` seconds."""
    deadline = None if late_in is None else waits + late_in + SERVICE
    return Candidate(name, rows, rows * (NOW - waits), NOW - waits, size, trigger, weight, deadline, replay)


BIG = table("big", rows=10**6, waits=100.0)


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        pytest.param([], None, id="without tables it is nobody's turn"),
        pytest.param([table("a", rows=0)], None, id="an empty table is never pushed"),
        pytest.param([table("a", rows=0, late_in=1.0)], None, id="an empty table has no deadline"),
        pytest.param([table("a", trigger=None)], None, id="what is not eligible waits"),
        pytest.param([table("a", rows=5), table("b", rows=6)], ("b", "age"), id="the larger area goes first"),
        pytest.param(
            [table("a", rows=9, waits=1.0), table("b", rows=1, waits=10.0)],
            ("b", "age"),
            id="one row that waits long outweighs many new ones",
        ),
        pytest.param(
            [table("a", rows=5, weight=2.0, trigger=Trigger.BYTES), table("b", rows=6)],
            ("a", "bytes"),
            id="a weight multiplies the area, and the trigger of the chosen is the reason",
        ),
        pytest.param([table("b"), table("a")], ("a", "age"), id="of equal areas the first name wins"),
        pytest.param([table("a"), table("b", trigger=None, rows=9)], ("a", "age"), id="only the eligible compete"),
        pytest.param(
            [BIG, table("a", waits=99.0, late_in=9.0)], ("a", "staleness"), id="a deadline in less than a slot"
        ),
        pytest.param([BIG, table("a", waits=99.0, late_in=10.0)], ("big", "age"), id="a deadline that can wait a slot"),
        pytest.param([BIG, table("a", waits=99.0, late_in=-50.0)], ("a", "staleness"), id="a deadline that has passed"),
        pytest.param(
            [BIG, table("a", waits=99.0, late_in=9.0, trigger=None)],
            ("a", "staleness"),
            id="a deadline makes a table eligible",
        ),
        pytest.param(
            [BIG, table("b", waits=99.0, late_in=14.0), table("a", waits=99.0, late_in=18.0)],
            ("b", "staleness"),
            id="two deadlines within two slots, the earlier one goes first",
        ),
        pytest.param(
            [BIG, table("b", waits=99.0, late_in=5.0), table("a", waits=99.0, late_in=5.0)],
            ("a", "staleness"),
            id="of equal deadlines the first name wins",
        ),
        pytest.param(
            [BIG, table("a", waits=0.0, late_in=40.0), *[table(f"b{i}", waits=90.0, late_in=55.0) for i in range(5)]],
            ("b0", "staleness"),
            id="a table that was pushed just now does not keep a crowd with later deadlines waiting",
        ),
        pytest.param(
            [BIG, table("a", rows=0, late_in=8.0), table("b", waits=99.0, late_in=22.0)],
            ("b", "staleness"),
            id="room is kept for the deadline of a table that is empty yet",
        ),
        pytest.param(
            [BIG, table("a", waits=0.0, late_in=20.0), table("b", waits=0.0, late_in=20.0), table("c", late_in=20.0)],
            ("big", "age"),
            id="deadlines that nothing can save do not push tables that were pushed just now",
        ),
        pytest.param(
            [table("r", rows=9, replay=True, late_in=1.0), table("a")], ("a", "age"), id="a replay comes after the live"
        ),
        pytest.param(
            [table("r", rows=9, replay=True), table("s", rows=8, replay=True), table("a", trigger=None)],
            ("r", "age"),
            id="of replays the larger area goes first",
        ),
    ],
)
def test_the_slot_goes_to(candidates: list[Candidate], chosen: tuple[str, str] | None) -> None:
    choice = choose(candidates, NOW, slot=SLOT, service=SERVICE, pressed=False, replay_allowed=True)
    assert (choice and (choice.candidate.table, choice.reason.value)) == chosen


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        pytest.param([table("a", rows=0, size=9)], None, id="an empty table frees nothing"),
        pytest.param(
            [BIG, table("a", size=9, trigger=None), table("b", waits=99.0, late_in=1.0)],
            ("a", "spool"),
            id="the largest size goes before deadlines and areas",
        ),
        pytest.param([table("b", size=9), table("a", size=9)], ("a", "spool"), id="of equal sizes the first name wins"),
    ],
)
def test_under_pressure_the_slot_goes_to(candidates: list[Candidate], chosen: tuple[str, str] | None) -> None:
    choice = choose(candidates, NOW, slot=SLOT, service=SERVICE, pressed=True, replay_allowed=False)
    assert (choice and (choice.candidate.table, choice.reason.value)) == chosen


def test_a_replay_waits_while_its_share_is_spent() -> None:
    replay = table("r", replay=True)
    assert choose([replay], NOW, slot=SLOT, service=SERVICE, pressed=False, replay_allowed=False) is None
    assert choose([replay], NOW, slot=SLOT, service=SERVICE, pressed=False, replay_allowed=True) == Choice(
        replay, Trigger.AGE
    )


def test_the_bid_is_the_waiting_area_times_the_mean_wait_over_the_longest_and_never_below_zero() -> None:
    assert bid(3.0, 2, 10.0 + 30.0, 10.0, 40.0) == pytest.approx(3.0 * (30.0 + 10.0) * (20.0 / 30.0))
    assert bid(1.0, 2, 20.0, 10.0, 40.0) == 60.0, "all came at once: the whole area"
    assert bid(1.0, 3, 3 * 1e9 + 1e-3, 1e9, 1e9) == 0.0
    assert Candidate("a", 2, 20.0, 10.0, 1, None).bid(40.0) == 60.0


@pytest.mark.parametrize(
    ("max_staleness", "service", "executing", "density", "verdict"),
    [
        pytest.param({}, 5.0, 1, 0.0, Verdict.KEPT, id="no deadline is always kept"),
        pytest.param({"a": 25.0}, 5.0, 1, 1 / 2, Verdict.KEPT, id="every second push keeps 20 s and the push itself"),
        pytest.param({"a": 34.9}, 5.0, 1, 1 / 2, Verdict.KEPT, id="periods are whole slots"),
        pytest.param({"a": 25.0, "b": 35.0}, 5.0, 1, 5 / 6, Verdict.POSSIBLE, id="five sixths is always schedulable"),
        pytest.param({"a": 25.0, "b": 25.0}, 5.0, 1, 1.0, Verdict.UNSURE, id="all pushes may just do"),
        pytest.param({"a": 15.0, "b": 99.0}, 5.0, 1, 1 + 1 / 9, Verdict.IMPOSSIBLE, id="more than all pushes"),
        pytest.param({"a": 14.9}, 5.0, 1, math.inf, Verdict.IMPOSSIBLE, id="shorter than a push and its turn"),
        pytest.param({"a": 120.0}, 40.0, 1, 1 / 2, Verdict.KEPT, id="slow pushes are the ceiling, not the budget"),
        pytest.param({"a": 120.0}, 40.0, 2, 1 / 4, Verdict.KEPT, id="two slow pushes at a time lift it"),
    ],
)
def test_deadlines_are_judged(
    max_staleness: dict[str, float], service: float, executing: int, density: float, verdict: Verdict
) -> None:
    found = feasibility(max_staleness, slot=10.0, service=service, executing=executing)
    assert found.density == pytest.approx(density)
    assert found.verdict is verdict


@pytest.mark.parametrize(
    ("max_staleness", "service", "says"),
    [
        pytest.param({"a": 105.0}, 5.0, ["have one: 1)", "10%", "all can be kept"], id="what is kept needs no help"),
        pytest.param(
            {"a": 25.0, "b": 35.0},
            5.0,
            ["83%", "a (50%), b (33%)", "1.7 times as large", "600 pushes an hour, not 360"],
            id="who takes the most, and how much larger values or budget would do",
        ),
        pytest.param(
            {"a": 120.0, "b": 120.0, "c": 120.0, "d": 240.0},
            40.0,
            ["170%", "a (50%), b (50%), c (50%) and 1 more", "pushes 3.4 times as fast"],
            id="when pushes are slow a larger budget does not help",
        ),
        pytest.param({"a": 8.0}, 5.0, ["of a is too short", "15 s or more"], id="the least that could be kept"),
    ],
)
def test_an_operator_reads(max_staleness: dict[str, float], service: float, says: list[str]) -> None:
    explanation = feasibility(max_staleness, slot=10.0, service=service).explanation
    assert [text for text in says if text not in explanation] == []
