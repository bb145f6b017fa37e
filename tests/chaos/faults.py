"""Owns the faults: each breaks something on the way in and heals it on the way out of a `with` block.

Never judges. Invariant: after the block everything runs again, so faults can follow each other in any order.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tests.chaos.stage import go_on, stall
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from connector.demo.running import RunningConnector
    from tests.chaos.stage import Stage

    Fault = Callable[[Stage], AbstractContextManager[None]]

_FREEZE_SECONDS = 4.0  # longer than a request may take, and than a heartbeat
_CUT_SECONDS = 15.0
_hold = threading.Event()  # never set: a freeze has no other end than its time


def _pick(stage: Stage) -> tuple[int, RunningConnector]:
    awake = [(n, c) for n, c in enumerate(stage.connectors) if c not in stage.resting]
    return stage.choose.choice(awake)


@contextmanager
def connector_killed(stage: Stage) -> Iterator[None]:
    """Kill -9."""
    _, connector = _pick(stage)
    stage.resting.add(connector)
    connector.kill()
    yield
    connector.start()
    stage.resting.discard(connector)


@contextmanager
def all_connectors_killed(stage: Stage) -> Iterator[None]:
    """Kill -9 of the whole group."""
    stage.resting.update(stage.connectors)
    for connector in stage.connectors:
        connector.kill()
    yield
    for connector in stage.connectors:
        connector.start()
    stage.resting.clear()


@contextmanager
def connector_terminated(stage: Stage) -> Iterator[None]:
    """SIGTERM, and a new start once it has drained."""
    number, connector = _pick(stage)
    stage.resting.add(connector)
    code = connector.stop()
    if code != 0:
        stage.exits.append(f"connector {number}: exit {code} after SIGTERM")
    yield
    connector.start()
    stage.resting.discard(connector)


@contextmanager
def connector_stalled_past_its_session(stage: Stage) -> Iterator[None]:
    """SIGSTOP until the broker has evicted it, then SIGCONT."""
    number, connector = _pick(stage)
    stage.resting.add(connector)
    stall(connector)
    try:
        yield
        with suppress(AssertionError):
            wait_for(lambda: stage.has_evicted(number), 20)
    finally:
        go_on(connector)
        stage.resting.discard(connector)


@contextmanager
def broker_restarted(stage: Stage) -> Iterator[None]:
    """A power cut of the only broker."""
    stage.broker.kill()
    yield
    stage.broker.start()


@contextmanager
def broker_frozen(stage: Stage) -> Iterator[None]:
    """The broker answers nothing, with its connections open."""
    stage.broker.freeze()
    try:
        yield
        _hold.wait(_FREEZE_SECONDS)
    finally:
        stage.broker.thaw()


@contextmanager
def emulator_killed(stage: Stage) -> Iterator[None]:
    """Kill -9 of the platform; it comes back with its tables and jobs."""
    stage.emulator.kill()
    yield
    stage.start_emulator()


@contextmanager
def emulator_frozen(stage: Stage) -> Iterator[None]:
    """The platform answers nothing for longer than a request waits; what it took in takes effect later."""
    stage.emulator.freeze()
    try:
        yield
        _hold.wait(_FREEZE_SECONDS)
    finally:
        stage.emulator.thaw()


@contextmanager
def upload_cut(stage: Stage) -> Iterator[None]:
    """The connection is reset in the middle of a chunk."""
    stage.proxy.cut_request_after(stage.choose.randrange(4_000, 40_000))
    yield
    with suppress(AssertionError):
        wait_for(lambda: not stage.proxy.armed or _hold.wait(0.05), _CUT_SECONDS)
    stage.proxy.cut_request_after(None)


FAULTS: dict[str, Fault] = {
    "connector kill -9": connector_killed,
    "all connectors kill -9": all_connectors_killed,
    "connector SIGTERM": connector_terminated,
    "connector SIGSTOP past its session": connector_stalled_past_its_session,
    "broker power cut": broker_restarted,
    "broker frozen": broker_frozen,
    "emulator kill -9": emulator_killed,
    "emulator frozen": emulator_frozen,
    "upload cut in the middle": upload_cut,
}
SECOND = {"connector kill -9", "emulator kill -9", "upload cut in the middle"}  # may come while another one lasts
_SAME = {"emulator kill -9": {"emulator frozen", "emulator kill -9"}, "connector kill -9": {"all connectors kill -9"}}


def second_of(first: str, stage: Stage) -> str | None:
    """Return a fault to add while `first` lasts, sometimes."""
    free = sorted(name for name in SECOND - {first} if first not in _SAME.get(name, set()))
    return stage.choose.choice(free) if stage.choose.random() < 0.3 else None
