"""Owns a run: messages flow, faults come from a seeded schedule, then everything settles and is compared.

Never stops at the first trouble: what ended by itself is started again, as an orchestrator does, and is told in the
report. Invariant: the report names every fault that was injected.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.compare import Compared, compare
from tests.chaos.faults import FAULTS, second_of
from tests.chaos.stage import Stage
from tests.chaos.workload import STREAMS
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_OPERATIONS = ("create", "upload", "list-chunks", "execute", "get")


class Plan(NamedTuple):
    """`messages` in all, over `seconds` of faults; `protocol` keeps the group; it may `settle` so long."""

    seed: int
    messages: int
    seconds: float
    settle: float = 180.0
    protocol: str = "classic"


@dataclass
class Report:
    """What was done and what came of it. `unsettled` are partitions that were not committed in the end."""

    plan: Plan
    faults: Counter[str] = field(default_factory=Counter)
    compared: list[Compared] = field(default_factory=list)
    unsettled: dict[str, str] = field(default_factory=dict)
    exits: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def differences(self) -> list[str]:
        """Everything that is not as it must be."""
        rows = [f"{c.name}: {d}" for c in self.compared for d in c.differences]
        stuck = [f"{at}: not committed, {how}" for at, how in self.unsettled.items()]
        crashed = [e for e in self.exits if not e.endswith("exit 0")]
        return [*self.problems, *stuck, *rows, *crashed]

    def text(self) -> str:
        """Return both tables and the verdict."""
        lines = [
            f"seed {self.plan.seed}, group protocol {self.plan.protocol}, {self.seconds:.0f} s",
            "",
            f"{'fault':40}{'injected':>10}",
        ]
        lines += [f"{name:40}{count:>10,}" for name, count in sorted(self.faults.items())]
        lines += [f"{'connectors that ended by themselves':40}{len(self.exits):>10,}", ""]
        heads = ("messages", "rows due", "found", "broken", "dead", "repeated")
        lines.append(f"{'table':12}" + "".join(f"{head:>11}" for head in heads) + "  verdict")
        for c in self.compared:
            numbers = (c.messages, c.rows, c.found, c.broken, c.dead, c.repeated)
            verdict = "DIFFERENT" if c.differences else "equal"
            lines.append(f"{c.name:12}" + "".join(f"{n:>11,}" for n in numbers) + f"  {verdict}")
        return "\n".join([*lines, "", *(self.differences or ["every message is accounted for exactly once"])])


def run(plan: Plan, folder: Path, say: Callable[[str], None] = lambda _: None) -> Report:
    """Carry out `plan` in `folder`, which keeps the logs of all processes."""
    report, begun = Report(plan), time.monotonic()
    count = plan.messages // len(STREAMS)
    with Stage(folder, messages=count, seconds=plan.seconds * 0.9, seed=plan.seed, protocol=plan.protocol) as stage:
        for name in _schedule(stage, begun + plan.seconds):
            _inject(stage, name, report, say)
        say("settling")
        _settle(stage, report)
        report.compared = compare(stage)
        stage.emulator.count_faults()
        report.faults["requests answered wrongly"] = stage.emulator.faulted
        report.faults["requests cut in the middle"] = stage.proxy.cuts
        for connector in stage.connectors:
            if (code := connector.stop()) != 0:
                stage.exits.append(f"a connector: exit {code} at the end")
        report.exits = stage.exits
    report.seconds = time.monotonic() - begun
    return report


def _schedule(stage: Stage, until: float) -> Iterator[str]:
    """Yield faults in rounds, each with every kind in an order drawn anew; the first round is always complete."""
    rounds = 0
    while time.monotonic() < until:
        names = list(FAULTS)
        stage.choose.shuffle(names)
        for name in names:
            if rounds and time.monotonic() >= until:
                return
            yield name
        rounds += 1


def _inject(stage: Stage, name: str, report: Report, say: Callable[[str], None]) -> None:
    """Let one fault come at a moment that the requests on the platform decide, and perhaps a second one during it."""
    stage.supervise()
    stage.until_requests(stage.choose.choice(_OPERATIONS), stage.choose.randrange(1, 6))
    with ExitStack() as faults:
        for each in filter(None, (name, second_of(name, stage))):
            say(each)
            report.faults[each] += 1
            faults.enter_context(FAULTS[each](stage))


def _settle(stage: Stage, report: Report) -> None:
    stage.emulator.kill()
    stage.start_emulator(faulty=False)
    if not stage.producing.wait(report.plan.settle):
        report.problems.append(f"not everything was written: {stage.producing.refused[:3]}")

    def settled() -> bool:
        stage.supervise()
        report.unsettled = stage.open_partitions()
        return not report.unsettled

    try:
        wait_for(settled, report.plan.settle)
    except AssertionError:
        report.problems += [f"connector {n}: {c.ask('status')[1]}" for n, c in enumerate(stage.connectors)]
