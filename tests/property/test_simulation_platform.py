"""The simulation's platform and the emulator's state machine, held to each other: the same operations, legal or not."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connector.core.jobs import Status
from connector.emulator.answers import ApiError
from connector.emulator.settings import EmulatorSettings
from connector.emulator.state import StateMachine
from connector.emulator.store import Store
from connector.emulator.wire import ChunkType
from connector.emulator.wire import Status as WireStatus
from tests.property.simulation.platform import Platform, Refusal, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POOL = "11111111-1111-1111-1111-111111111111"
OPERATIONS = ("upload", "execute", "cancel", "delete", "begin", "done", "error")


class Both:
    """One job, in the simulation and in the emulator."""

    def __init__(self, path: Path, store: Store, machine: StateMachine) -> None:
        self._file, self._store, self._machine = path / "chunk.parquet", store, machine
        pq.write_table(pa.table({"k": ["a"]}), self._file)
        self._platform = Platform()

    def create(self) -> tuple[str, str]:
        job = self._machine.create(POOL, {"targetName": "t", "type": "DELTA", "fileType": "PARQUET"})
        return self._platform.create("t", keyed=False).id, job.id

    def simulated(self, operation: str, job_id: str) -> int:
        """Return the HTTP status that the simulation would answer."""
        platform = self._platform
        moves: dict[str, Callable[[], object]] = {
            "upload": lambda: platform.upload(job_id, [Row("t", 0, 0, "a", "")]),
            "execute": lambda: platform.execute(job_id),
            "cancel": lambda: platform.cancel(job_id),
            "delete": lambda: platform.delete(job_id),
            "begin": lambda: self._moves(job_id, Status.QUEUED, Status.RUNNING),
            "done": lambda: self._moves(job_id, Status.RUNNING, Status.DONE),
            "error": lambda: self._moves(job_id, Status.RUNNING, Status.ERROR),
        }
        try:
            moves[operation]()
        except Refusal as e:
            return e.status
        return 200

    def _moves(self, job_id: str, before: Status, after: Status) -> None:
        """Move a job as the platform's own worker does, which passes over what is not in `before`."""
        if self._platform.get(job_id).status is not before:
            return
        if after is Status.RUNNING:
            self._platform.begin(job_id)
        else:
            self._platform.finish(job_id, after)

    def emulated(self, operation: str, job_id: str) -> int:
        """Return the HTTP status that the emulator would answer."""
        machine = self._machine
        moves: dict[str, Callable[[], Any]] = {
            "upload": lambda: self._upload(job_id),
            "execute": lambda: machine.execute(POOL, job_id, None),
            "cancel": lambda: machine.cancel(POOL, job_id),
            "delete": lambda: machine.delete(POOL, job_id),
            "begin": lambda: self._begin(job_id),
            "done": lambda: self._finish(job_id, WireStatus.DONE),
            "error": lambda: self._finish(job_id, WireStatus.ERROR),
        }
        try:
            moves[operation]()
        except ApiError as e:
            return e.status
        return 200

    def states(self, simulated: str, emulated: str) -> tuple[str, str]:
        """Return the status of both, or that the job is unknown, with the number of chunks."""
        try:
            job = self._platform.get(simulated)
            told = f"{job.status} {len(job.chunks)}"
        except Refusal as e:
            told = str(e.status)
        try:
            wire = self._machine.get(POOL, emulated)
            chunks = len(self._machine.chunks(POOL, emulated))
        except ApiError as e:
            return told, str(e.status)
        return told, f"{wire.status} {chunks}"

    def _upload(self, job_id: str) -> None:
        part = self._machine.begin_upload(POOL, job_id, ChunkType.UPSERT)
        shutil.copy(self._file, part)
        self._machine.end_upload(POOL, job_id, ChunkType.UPSERT, part, "sum")

    def _begin(self, job_id: str) -> None:
        self._machine.get(POOL, job_id)
        with self._machine.changed:
            self._machine.begin()

    def _finish(self, job_id: str, status: WireStatus) -> None:
        self._machine.get(POOL, job_id)
        stored = self._store.job(POOL, job_id)
        if stored:
            with self._store.connect() as connection:
                connection.begin()
                if not self._machine.finish(connection, stored, status):
                    connection.rollback()


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    many = 10_000
    settings = EmulatorSettings(
        directory=tmp_path, pools={POOL: "simulated"}, per_hour=many, per_second=many, executes_in_flight=many
    )
    store = Store(tmp_path / "store")
    yield Both(tmp_path, store, StateMachine(settings, store))
    store.close()


def test_the_simulated_platform_takes_and_refuses_what_the_emulator_does(both: Both) -> None:
    dice = random.Random(1)
    for _ in range(40):
        simulated, emulated = both.create()
        for operation in dice.choices(OPERATIONS, weights=(3, 3, 1, 1, 4, 3, 1), k=8):
            answers = both.simulated(operation, simulated), both.emulated(operation, emulated)
            assert answers[0] == answers[1], operation
            told = both.states(simulated, emulated)
            assert told[0] == told[1], operation
