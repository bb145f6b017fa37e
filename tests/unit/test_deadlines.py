"""When the service warns that a `max_staleness` cannot be kept."""

from __future__ import annotations

from structlog.testing import capture_logs

from connector.config import Table
from connector.core.times import Times
from connector.deadlines import Deadlines
from connector.routing import Routes

SLOT = 15.0  # 240 pushes an hour


def routes(*max_staleness: float | None) -> Routes:
    return Routes([Table(topics=[f"t{n}"], format="json", max_staleness=most) for n, most in enumerate(max_staleness)])


def judged(deadlines: Deadlines, *services: float) -> list[str]:
    """Return the verdicts that were told as pushes took so long."""
    with capture_logs() as lines:
        for service in services:
            deadlines.judge(service)
    assert all(line["log_level"] == "warning" for line in lines)
    return [line["verdict"] for line in lines]


def test_deadlines_that_can_be_kept_and_tables_without_one_are_no_reason_to_warn() -> None:
    assert judged(Deadlines(routes(300, 300, None), slot=SLOT, executing=1), Times().service) == []
    assert judged(Deadlines(routes(None), slot=SLOT, executing=1), 600.0) == []


def test_a_deadline_that_no_schedule_keeps_is_told_with_the_numbers() -> None:
    deadlines = Deadlines(routes(10), slot=SLOT, executing=1)
    with capture_logs() as lines:
        deadlines.judge(3.0)
    (line,) = lines
    assert (line["event"], line["verdict"], line["service"]) == ("deadlines are in danger", "impossible", 3)
    assert "a push takes 3 s and one begins every 15 s. What helps: 18 s or more" in line["reason"]


def test_the_same_trouble_is_told_once_and_again_only_when_it_gets_worse() -> None:
    deadlines = Deadlines(routes(60, 60), slot=SLOT, executing=1)
    assert judged(deadlines, 3.0, 3.0, 2.0) == ["possible"]
    assert judged(deadlines, 58.0, 3.0, 58.0, 70.0) == ["impossible"]


def test_jobs_that_execute_at_the_same_time_make_room() -> None:
    assert judged(Deadlines(routes(200, 200), slot=SLOT, executing=1), 45.0) == ["possible"]
    assert judged(Deadlines(routes(200, 200), slot=SLOT, executing=3), 45.0) == []


def test_a_table_that_turns_up_later_counts_from_then_on() -> None:
    known = Routes([Table(topics=["^t.*"], format="json", max_staleness=30)])
    deadlines = Deadlines(known, slot=SLOT, executing=1)
    assert judged(deadlines, 3.0) == []
    known.route("t1")
    assert judged(deadlines, 3.0) == ["unsure"]
    known.route("t2")
    assert judged(deadlines, 3.0) == ["impossible"]
