"""Owns the course of a run over several hours: who starts, dies and comes when, and what the hours must look like.

Never looks into a connector. Invariant: an hour is judged only when it is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from connector.core.budget import TEAM_LIMIT
from connector.core.hours import HOUR, hour_of
from tests.hours.stage import Stage
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.kafka_broker import KafkaBroker

OURS = 240  # the default of budget.pushes_per_hour
ENOUGH = 0.95  # of what can be used must be used
FOREIGN = 100  # executes an hour, of somebody else
_MARGIN = 2  # pushes that are left to others when a limit was learnt


class Report(NamedTuple):
    """What each hour saw, and what was wrong with it."""

    lines: tuple[str, ...]
    problems: tuple[str, ...]

    def text(self) -> str:
        """Return it for people."""
        return "\n".join([*self.lines, *(self.problems or ("all hours are as they must be",))])


def run(
    kafka: KafkaBroker, folder: Path, *, hours: int, foreign_from: int | None, say: Callable[[str], object] = str
) -> Report:
    """Let three replicas work for `hours` full hours; one is killed and another one comes in each.

    From the hour `foreign_from` on (the first one is 1) another client eats its part; that hour is there to learn it.
    """
    with Stage(kafka, folder, connectors=4) as stage:
        for connector in stage.connectors[:3]:
            connector.start()
        wait_for(lambda: sum(stage.executes().get(hour_of(stage.now()), {}).values()) > 0, 60)
        first = hour_of(stage.now()) + 1
        for hour in range(first, first + hours):
            stage.wait_until(hour * HOUR)
            if foreign_from == hour - first + 1:
                stage.let_others_push(FOREIGN)
            say(f"hour {hour - first + 1}: {stage.executes().get(hour - 1)} in the hour before")
            _kill_and_add(stage, hour, hour - first)
        stage.wait_until((first + hours) * HOUR + 30)
        return _judge(stage.executes(), first, hours, foreign_from or hours + 1)


def _kill_and_add(stage: Stage, hour: int, number: int) -> None:
    """Kill one replica in the first half of the hour, and let the one that rested take part in the second."""
    victim, rested = stage.connectors[number % 4], stage.connectors[(number + 3) % 4]
    stage.wait_until(hour * HOUR + 900)
    victim.kill()
    stage.wait_until(hour * HOUR + 1800)
    rested.start()


def _judge(executes: dict[int, dict[str, int]], first: int, hours: int, foreign_from: int) -> Report:
    lines, problems = [], []
    for number, hour in enumerate(range(first, first + hours), 1):
        found = executes.get(hour, {})
        accepted, refused = found.get("accepted", 0), found.get("refused", 0)
        lines.append(f"hour {number}: {accepted} executes, {refused} refused")
        if refused and number != foreign_from:
            problems.append(f"hour {number}: {refused} executes were refused")
        if accepted > TEAM_LIMIT:
            problems.append(f"hour {number}: more than {TEAM_LIMIT} executes")
        usable = TEAM_LIMIT - _MARGIN if number >= foreign_from else OURS
        if accepted < usable * ENOUGH:
            problems.append(f"hour {number}: {accepted} executes are less than {ENOUGH:.0%} of {usable}")
    return Report(tuple(lines), tuple(problems))
