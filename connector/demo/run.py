"""Owns the demo's course: start the parts, tell the story while the user watches, wait, judge, and say it in one line.

Never talks to Kafka or to the emulator itself. Invariant: the last line is `demo ok: …` with exit code 0, or
`demo failed: …` with exit code 1.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table

from connector.demo.process import Process
from connector.demo.stage import SPEED, Stage
from connector.demo.verdict import ACTIVITIES_TABLE, ANSWERS, ORDERS_TABLE, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENTS_A_SECOND = 1000
CATCH_UP_SECONDS = 60.0
REFRESH_SECONDS = 0.5
LINE_SECONDS = 5.0


def run(seconds: float | None, console: Console | None = None) -> int:
    """Run the demo for `seconds` (None: until Ctrl-C) and return the exit code."""
    console = console or Console()
    try:
        with Stage() as stage:
            verdict = _perform(stage, seconds, console)
    except (RuntimeError, OSError) as e:
        verdict = Verdict(0, 0, 0, (str(e),))
    console.print(verdict.line(), highlight=False, soft_wrap=True)
    return 1 if verdict.differences else 0


def _perform(stage: Stage, seconds: float | None, console: Console) -> Verdict:
    process = Process(stage.schema_id)
    console.print("Purchase orders (Avro) and their activities (JSON) stream from Kafka into Celonis tables.")
    console.print(f"The clock of the budget runs {SPEED} times faster: an hour with its 240 pushes takes a minute.")
    stage.connector.wait_until_ready()
    screen = _Screen(stage, process, console)
    with screen:
        _tell(stage, process, seconds, screen)
        stage.flush()
        _catch_up(stage, process, screen)
    code = stage.connector.stop()
    verdict = judge(process, stage.emulator.query, stage.dead_letters())
    _show_answers(stage, console)
    console.print(process.summary(), soft_wrap=True)
    if code:
        verdict = verdict._replace(differences=(*verdict.differences, f"the connector ended with exit code {code}"))
    if verdict.differences:
        console.print(stage.connector.log(), highlight=False)
    return verdict


def _tell(stage: Stage, process: Process, seconds: float | None, screen: _Screen) -> None:
    """Produce at an even rate, which the embedded broker's small memory needs."""
    began = time.monotonic()
    events = 0
    try:
        while seconds is None or time.monotonic() - began < seconds:
            while events < (time.monotonic() - began) * EVENTS_A_SECOND:
                for told in process.tell():
                    stage.produce(told)
                events += 1
            screen.refresh("streaming")
            if stage.connector.exit_code is not None:
                raise RuntimeError(f"the connector ended by itself:\n{stage.connector.log()}")
            time.sleep(0.02)
    except KeyboardInterrupt:
        return


def _catch_up(stage: Stage, process: Process, screen: _Screen) -> None:
    """Wait until everything told is in the tables; what is missing then is for the verdict to say."""
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while time.monotonic() < deadline and stage.connector.exit_code is None:
        screen.refresh("catching up")
        rows = stage.rows()
        if rows.get(ORDERS_TABLE) == len(process.orders) and rows.get(ACTIVITIES_TABLE) == len(process.activities):
            if judge(process, stage.emulator.query, process.broken).differences:
                time.sleep(REFRESH_SECONDS)
                continue
            return
        time.sleep(0.1)


class _Screen:
    """Live progress: a table on a terminal, a line now and then elsewhere."""

    def __init__(self, stage: Stage, process: Process, console: Console) -> None:
        self._stage, self._process, self._console = stage, process, console
        self._live = Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else None
        self._next = 0.0

    def __enter__(self) -> None:
        if self._live:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def refresh(self, phase: str) -> None:
        """Show how things stand, at most every so often."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + (REFRESH_SECONDS if self._live else LINE_SECONDS)
        figures = _figures(self._stage.connector.metrics(), self._stage.rows(), self._process)
        if self._live:
            self._live.update(_as_table(phase, figures), refresh=True)
        else:
            self._console.print(phase, *(f"{name}={value}" for name, value in figures.items()), soft_wrap=True)


def _figures(metrics: Mapping[str, float], rows: Mapping[str, int], process: Process) -> dict[str, str]:
    def figure(name: str) -> str:
        return f"{metrics.get(f'kafka_celonis_{name}', 0):,.0f}"

    return {
        "events told": f"{len(process.activities):,}",
        "records decoded": figure("records_decoded_total"),
        "rejects": figure("rejects_total"),
        "lag": figure("lag_messages"),
        "records in buffers": figure("buffered_records"),
        "jobs done": figure("jobs_total"),
        "pushes left this hour": figure("pushes_left"),
        f"rows in {ORDERS_TABLE}": f"{rows.get(ORDERS_TABLE, 0):,}",
        f"rows in {ACTIVITIES_TABLE}": f"{rows.get(ACTIVITIES_TABLE, 0):,}",
    }


def _as_table(title: str, figures: Mapping[str, str]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in figures.items():
        table.add_row(name, value)
    table.columns[1].justify = "right"
    return table


def _show_answers(stage: Stage, console: Console) -> None:
    for answer in ANSWERS:
        table = Table(*answer.columns, title=answer.question, title_justify="left", min_width=len(answer.question))
        for row in stage.emulator.query(answer.sql):
            table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row))
        console.print(table)
