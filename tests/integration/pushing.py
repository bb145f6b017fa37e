"""Owns the bench of the pusher's tests: small loads, the emulator, and a transport that can be tampered with.

Never judges. Invariant: every wait is bounded, and every request of the pusher is driven to its end as the loop would.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from connector.celonis.auth import KeyAuth
from connector.celonis.client import DataPushClient
from connector.celonis.patience import Pace
from connector.celonis.pusher import JobPusher
from connector.core.columns import Column, ColumnType, TableSchema
from connector.core.flush import Trigger
from connector.core.jobs import Seen, Unseen
from connector.core.loads import Chunk, Done, Doubtful, Load, Prepared, Target, Throttled
from connector.emulator import Emulator, EmulatorSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from connector.core.loads import Receipt

POOL = "11111111-2222-3333-4444-555555555555"
KEY = "application-key"
WAIT = 60.0
ROWS, CHUNKS = 5, 3
QUICK = Pace(
    poll_first=0.01, poll_longest=0.02, retry_first=0.01, retry_longest=0.02, give_back=0.3, again=0.01, started=0.2
)


class Tampered(httpx.BaseTransport):
    """Goes to the real server, through `tamper(request, go_on)` where there is one."""

    def __init__(self) -> None:
        self._real = httpx.HTTPTransport()
        self.tamper: Callable[[httpx.Request, Callable[[], httpx.Response]], httpx.Response] | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        def go_on() -> httpx.Response:
            return self._real.handle_request(request)

        return self.tamper(request, go_on) if self.tamper else go_on()

    def close(self) -> None:
        self._real.close()


class Bench:
    """A pusher, a client and an emulator. `emulator` holds settings of the emulator, `pusher` those of the pusher."""

    def __init__(
        self, path: Path, *faults: str, emulator: dict[str, Any] | None = None, key: str = KEY, **pusher: Any
    ) -> None:
        self.path = path
        granted = {KEY: [POOL], "no-permission": []}
        self._settings: dict[str, Any] = {"app_keys": granted, "per_second": 10_000, "faults": faults, "seed": 1}
        self._settings |= emulator or {}
        self._key, self._pusher_settings = key, pusher
        self.transport = Tampered()
        self.trace: list[Receipt] = []
        self._waiting: list[Receipt] = []
        self.build: Callable[[Load], tuple[Chunk, ...]] = self.chunks

    def __enter__(self) -> Self:
        self._parts = ExitStack()
        self.emulator = self._parts.enter_context(Emulator(EmulatorSettings(self.path / "emulator", **self._settings)))
        self.client = self._parts.enter_context(self.connect())
        settings = {"pace": QUICK} | self._pusher_settings
        self.pusher = JobPusher(self.client, self._build, **settings)
        self._parts.callback(self.pusher.close)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._parts.close()

    def connect(self, url: str = "", **options: Any) -> DataPushClient:
        """Return a client of the emulator, or of `url`."""
        settings: dict[str, Any] = {"timeout": 5.0, "transport": self.transport} | options
        return DataPushClient(url or self.emulator.url, POOL, KeyAuth("AppKey", self._key), **settings)

    def _build(self, load: Load) -> tuple[Chunk, ...]:
        return self.build(load)

    def chunks(self, load: Load, count: int = CHUNKS) -> tuple[Chunk, ...]:
        """Return `count` chunks with consecutive ids."""
        return tuple(self.chunk(load, range(ROWS * i, ROWS * (i + 1))) for i in range(count))

    def chunk(self, load: Load, ids: Sequence[int] | range, column: Any = None) -> Chunk:
        """Write one chunk; `column` replaces the integers of `id`."""
        path = self.path / f"{load.id}-{ids[0]}.parquet"
        values = column if column is not None else pa.array(ids, pa.int64())
        pq.write_table(pa.table({"id": values}), path)
        return Chunk(path, len(ids), path.stat().st_size)

    def settled(self) -> Receipt:
        """Wait for the next receipt."""
        end, tick = time.monotonic() + WAIT, threading.Event()
        while time.monotonic() < end:
            self._waiting += (r for r in self.pusher.finished() if not isinstance(r, Seen | Unseen))
            if self._waiting:
                self.trace.append(self._waiting.pop(0))
                return self.trace[-1]
            tick.wait(0.002)
        raise AssertionError(f"no receipt within {WAIT} s")

    def prepare(self, load: Load) -> Receipt:
        self.pusher.prepare(load)
        return self.settled()

    def prepared(self, load: Load) -> Prepared:
        """Prepare, as often as the pusher asks for it."""
        for _ in range(10):
            receipt = self.prepare(load)
            if isinstance(receipt, Prepared):
                return receipt
            assert isinstance(receipt, (Doubtful, Throttled)), receipt
        raise AssertionError(f"never prepared: {self.trace}")

    def apply(self, prepared: Prepared) -> Receipt:
        self.pusher.apply(prepared, math.inf)
        return self.settled()

    def push(self, load: Load) -> Receipt:
        """Push as the loop does: what is in doubt or throttled is taken up again, with what is prepared."""
        prepared: Prepared | None = None
        for _ in range(20):
            receipt = self.apply(prepared) if prepared else self.prepare(load)
            match receipt:
                case Prepared():
                    prepared = receipt
                case Doubtful() | Throttled():
                    prepared = receipt.prepared
                case _:
                    return receipt
        raise AssertionError(f"no end: {self.trace}")

    def done(self, load: Load) -> Done:
        receipt = self.push(load)
        assert isinstance(receipt, Done), receipt
        return receipt

    def stored(self, table: str = "T") -> list[int]:
        """Return the ids in the table, in order."""
        return [i for (i,) in self.emulator.query(f'SELECT id FROM "{table}" ORDER BY id')]

    def executed(self) -> int:
        """Return how many executes took effect."""
        hours = httpx.get(f"{self.emulator.url}/emulator/requests", trust_env=False).json()["executes"]
        return sum(outcomes.get("accepted", 0) for outcomes in hours.values())

    def requests(self) -> Counter[str]:
        """Return how many requests of each operation the emulator has seen."""
        seen = httpx.get(f"{self.emulator.url}/emulator/requests", trust_env=False).json()
        return Counter(seen["operations"])


def load_of(*keys: str, load_id: str = "load-1") -> Load:
    """Return a load of table T; without keys it appends."""
    schema = TableSchema((Column("id", ColumnType.INTEGER),))
    return Load(load_id, Target("T", keys), schema, (), (), Trigger.AGE, 0.0)


IDS = list(range(ROWS * CHUNKS))
