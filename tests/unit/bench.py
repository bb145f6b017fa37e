"""Owns a pipeline over fakes and a real spool, stepped by hand with a manual clock. Never decides what is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.config import Memory, Spool
from connector.core.flush import FlushPolicy
from connector.core.hours import Now
from connector.core.intents import Origin
from connector.core.loads import Target
from connector.core.offsets import TopicPartition
from connector.errors import ConfigError
from connector.isolation import Isolation
from connector.pipeline import Pipeline
from connector.sink import TableSink
from connector.spool.spool import DiskSpool
from connector.spool.whole import WholeSpool
from tests.fakes import FakeBudget, FakeDeadLetters, FakeObserver, FakeOrders, FakePusher, FakeSource, IntegerDecoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from connector.core.loads import Prepared
    from connector.ports import Budget

A0, A1, B0 = TopicPartition("a", 0), TopicPartition("a", 1), TopicPartition("b", 0)


class Bench:
    """A pipeline over fakes and a real spool; tables are named after their topics."""

    def __init__(
        self,
        path: Path,
        log: Mapping[TopicPartition, Sequence[bytes | None]],
        *,
        records: int = 1000,
        limit: int = 10,
        budget: Budget | None = None,
        delete: bool = False,
        spool_bytes: int = 1 << 30,
        shared: bool = False,
        isolate: int = 0,
        ends: Mapping[TopicPartition, int] | None = None,
        source: FakeSource | None = None,
        orders: FakeOrders | None = None,
    ) -> None:
        self.shared: TableSink | None = None
        self.keyed: set[str] = set()
        self.shares, self.isolate = shared, isolate
        self.now = 1000.0
        self.source = source or FakeSource(log)
        self.pusher = FakePusher()
        self.dead_letters = FakeDeadLetters()
        self.orders = orders or FakeOrders()
        self.observer = FakeObserver()
        self.budget = FakeBudget(limit)
        spool = Spool(directory=path, bytes=spool_bytes, chunk_bytes=1 << 16)
        self.spool = WholeSpool(spool, Memory(), ends) if ends else DiskSpool(spool, Memory())
        self.policy = FlushPolicy(records, 1 << 30, 60.0)
        self.pipeline = Pipeline(
            source=self.source,
            sink_of=self.sink_of,
            origin_of=lambda topic: Origin("cluster", f"id-{topic}", topic, keyed=topic in self.keyed),
            spool=self.spool,
            pusher=self.pusher,
            dead_letters=self.dead_letters,
            orders=self.orders,
            observer=self.observer,
            budget=budget or self.budget,
            delete_finished_jobs=delete,
        )
        self.pipeline.orders.assigned(self.source.own(*log))

    def sink_of(self, topic: str) -> TableSink:
        if topic == "nowhere":
            raise ConfigError(["tables: no entry takes topic nowhere"])
        if self.shares:
            self.shared = self.shared or self._sink("shared")
            return self.shared
        return self._sink(topic)

    def _sink(self, table: str) -> TableSink:
        target = Target(table, ())
        return TableSink(target, IntegerDecoder(), self.spool.buffer(target), self.policy, Isolation(self.isolate))

    def executing(self) -> Prepared:
        """Let the oldest preparation succeed and its job be executed."""
        prepared = self.pusher.prepared()
        self.step()
        self.step()
        assert prepared in self.pusher.to_apply
        return prepared

    def assign(self, *partitions: TopicPartition) -> None:
        """Assign partitions, as the source does."""
        held = self.pipeline.assigned(self.source.own(*partitions))
        self.source.paused |= set(held)

    def take_away(self, *partitions: TopicPartition) -> None:
        """Take partitions away without a word, as an eviction does."""
        self.source.disown(*partitions)
        self.pipeline.lost(partitions)

    def step(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.pipeline.step(Now(self.now, self.now))

    def sink(self, table: str) -> TableSink:
        return self.pipeline.sinks[table]

    def decoder(self, table: str) -> IntegerDecoder:
        decoder = self.sink(table).decoder
        assert isinstance(decoder, IntegerDecoder)
        return decoder

    def files(self, path: Path) -> list[str]:
        return sorted(p.name for p in (path / "records").rglob("*.*") if p.is_file())
