"""Owns the loop: messages become records, buffers become loads, loads become finished jobs, and offsets follow.

OPEN THIS FIRST: `step` is the whole path of the data. One thread owns all state here; other threads see one immutable
load and give back one immutable receipt, so there is no lock. Never reads a clock, sleeps, or touches the network
except through its ports. Invariant: an offset is committed only when every message below it is in a job that reached
DONE, or acknowledged by the dead-letter topic.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import structlog

from connector.core.flush import Trigger
from connector.core.intents import Committed
from connector.core.offsets import safe_offsets
from connector.core.schedule import choose
from connector.errors import ConfigError, SpoolFull, Unavailable
from connector.isolation import head
from connector.orders import NoOrders, OrderBook
from connector.pushes import Pushes
from connector.recovery import Recovery

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from connector.core.hours import Now
    from connector.core.intents import Origin
    from connector.core.messages import MessageBatch
    from connector.core.offsets import OffsetRange, TopicPartition
    from connector.core.schedule import Candidate
    from connector.ports import Budget, DeadLetters, Observer, Orders, Pusher, Source, Spool
    from connector.sink import TableSink

log = structlog.get_logger()

POLL_SECONDS = 0.1  # the longest a receipt waits for the loop
SPOOL_RETRY_SECONDS = 5.0  # after the disk refused, before reading on


class Pipeline:
    """The loop over its ports.

    `sink_of` gives the table of a topic, `origin_of` what an intent of it is bound to, `executing` how many jobs may
    execute at once, `workers` how many loads may be prepared at once.
    """

    def __init__(
        self,
        *,
        source: Source,
        sink_of: Callable[[str], TableSink],
        origin_of: Callable[[str], Origin],
        spool: Spool,
        pusher: Pusher,
        dead_letters: DeadLetters,
        observer: Observer,
        budget: Budget,
        orders: Orders | None = None,
        executing: int = 1,
        workers: int = 4,
        commit_interval: float = 5.0,
        delete_finished_jobs: bool = False,
    ) -> None:
        self._source, self._spool, self._pusher = source, spool, pusher
        self._dead_letters, self._observer, self._budget = dead_letters, observer, budget
        self._sink_of = sink_of
        self._commit_interval = commit_interval
        self._delete_finished_jobs = delete_finished_jobs
        self.sinks: dict[str, TableSink] = {}  # by table
        self.unroutable: dict[str, str] = {}  # topics without a table of their own, and why
        self.recovery = Recovery(origin_of)
        self.orders = OrderBook(
            orders or NoOrders(), source=source, sinks=self.sinks, recovery=self.recovery, commits=self._commits
        )
        self.pushes = Pushes(
            sinks=self.sinks,
            source=source,
            spool=spool,
            pusher=pusher,
            dead_letters=dead_letters,
            observer=observer,
            recovery=self.recovery,
            budget=budget,
            origin_of=origin_of,
            forget_records=self._stand_before,
            executing=executing,
            workers=workers,
        )
        self._topics: dict[str, TableSink] = {}
        self._stalled: dict[str, float] = {}  # topic → when what decoding needs is asked for again
        self._in_hand: list[MessageBatch] = []  # polled, and not taken in yet
        self._disk_again_at = 0.0
        self._commit_at = 0.0
        self._draining = False

    def step(self, now: Now) -> None:
        """Move everything once around.

        Raises:
            ConnectorError: the service cannot go on; whoever starts it again finds everything as it was committed.
        """
        self._budget.step(now, self._source.share)
        for receipt in self._pusher.finished():  # 1 settle
            self.pushes.settle(receipt, now)
        for messages in self._consume(now):  # 2 a batch at a time
            self._take_in(messages, now)  # 3 decode in columns, buffer
        self._spill(now)
        self.pushes.urgent |= self.orders.step()
        for sink, trigger in self._due(now):  # 4 flush, push (other threads do the I/O)
            self._flush(sink, trigger, now)
        self.pushes.move(now)
        self._source.pause(self.held_back(now))  # 5 hold back
        self._commit(now)  # 6 commit

    def drain(self) -> None:
        """Read nothing more from the next step on, and push what is here whatever its age."""
        self._draining = True

    def drained(self, now: Now, deadline: float) -> bool:
        """Return whether a draining pipeline has done what it can before `deadline` (monotonic seconds)."""
        pushes = [s.push for s in self.sinks.values() if s.push]
        if any(p.in_pusher for p in pushes) or any(self._dead_letters.held) or self._source.committing:
            return False
        return all(s.at_rest for s in self.sinks.values()) or self._budget.next_at(now) > deadline

    def _stand_before(self, sink: TableSink, ranges: Iterable[OffsetRange]) -> None:
        """Forget what a table has in its buffer and in hand, and read again from the first offset of `ranges`."""
        in_hand = [m.ranges for m in self._in_hand if m.topic in sink.topics]
        self._in_hand = [m for m in self._in_hand if m.topic not in sink.topics]
        self._source.seek(self._ours(chain(ranges, *in_hand)))
        sink.buffer.clear()

    # --- 2, 3 consume, decode, buffer -------------------------------------------------------------------------

    def _wait(self, now: Now) -> float:
        waits = [sink.wait(now.mono) for sink in self.sinks.values()]
        if any(wait <= 0 for wait in waits):  # due, and not sealed yet: it waits for its turn
            waits = [*(wait for wait in waits if wait > 0), self.pushes.turn_in(now)]
        return min(POLL_SECONDS, self.pushes.patience(now), *waits)

    def _consume(self, now: Now) -> Iterator[MessageBatch]:
        """Yield what the source has, each batch in hand until it is taken in: an error on the way holds its offsets."""
        self._in_hand = list(self._source.poll(self._wait(now)))
        while self._in_hand:
            messages = self._in_hand[0]
            yield messages
            self._in_hand = [m for m in self._in_hand if m is not messages]

    def _take_in(self, messages: MessageBatch, now: Now) -> None:
        try:
            sink = None if self._stands(messages.topic, now) else self._sink(messages.topic)
            if sink is None or sink.halted or sink.full_for_search:
                self._source.seek(self._ours(messages.ranges))
                return
            messages = self._as_many_as_fit(sink, messages)
            decoded = sink.isolation.without_condemned(messages, sink.decoder.decode(messages))
        except Unavailable as e:
            self._stalled[messages.topic] = now.mono + e.wait
            self._source.seek(self._ours(messages.ranges))
            self._observer.stalled(messages.topic, e)
            return
        self._observer.decoded(sink.table, messages, decoded)
        try:
            sink.buffer.add(messages, decoded, sink.decoder.schema, now.mono)
        except SpoolFull as e:
            self._lost_to_disk(sink, sink.buffer.held, str(e), now)
            return
        if decoded.rejects:
            self._dead_letters.send(decoded.rejects)

    def _stands(self, topic: str, now: Now) -> bool:
        return self._draining or self._stalled.get(topic, 0.0) > now.mono

    def _as_many_as_fit(self, sink: TableSink, messages: MessageBatch) -> MessageBatch:
        """Leave for later what the search for bad records does not want yet."""
        room = sink.isolation.room(sink.buffer.fill.records)
        if room is None:
            return messages
        fitting, rest = head(messages, room)
        self._source.seek({tp: offset for tp, offset in rest.items() if tp in self._source.positions})
        return fitting

    def _sink(self, topic: str) -> TableSink | None:
        if topic not in self._topics and topic not in self.unroutable:
            try:
                sink = self._topics[topic] = self._sink_of(topic)
                sink.topics.add(topic)
                self.sinks[sink.table] = sink
            except ConfigError as e:
                self.unroutable[topic] = str(e)
                log.error("halted topic", topic=topic, reason=str(e))
        return self._topics.get(topic)

    def _spill(self, now: Now) -> None:
        for table in self._spool.overflowing():
            try:
                self.sinks[table].buffer.spill()
            except SpoolFull as e:
                self._lost_to_disk(self.sinks[table], self.sinks[table].buffer.held, str(e), now)

    def _lost_to_disk(self, sink: TableSink, ranges: Iterable[OffsetRange], detail: str, now: Now) -> None:
        """Recover by recomputation: what the disk did not keep is forgotten here and read again later."""
        self._stand_before(sink, ranges)
        self._disk_again_at = now.mono + SPOOL_RETRY_SECONDS
        log.warning("lost records to the disk, reading their messages again", table=sink.table, error=detail)

    def _ours(self, ranges: Iterable[OffsetRange]) -> dict[TopicPartition, int]:
        """Return the lowest start of each partition that is still ours."""
        starts: dict[TopicPartition, int] = {}
        for r in ranges:
            if r.tp in self._source.positions:
                starts[r.tp] = min(r.start, starts.get(r.tp, r.start))
        return starts

    # --- 4 flush, push ----------------------------------------------------------------------------------------

    def _due(self, now: Now) -> Iterator[tuple[TableSink, Trigger]]:
        """Yield whose turn it is: no more than can be executed next, and only as early as preparing them takes."""
        waiting = self.recovery.topics  # one job per table: what was found comes first
        idle = [s for s in self.sinks.values() if s.may_flush and s.topics.isdisjoint(waiting)]
        room = self.pushes.room(now) if idle else 0
        candidates = {s.table: self._candidate(s, now) for s in idle} if room else {}
        pressed = self._spool.pressed() and not any(s.push for s in self.sinks.values())
        if not pressed and not any(c.trigger or c.max_staleness for c in candidates.values()):
            return
        for _ in range(room):
            choice = choose(
                [*candidates.values(), *self._absent(candidates)],
                now.mono,
                slot=self._budget.slot(now),
                service=self.pushes.times.service,
                pressed=pressed,
                replay_allowed=True,
            )
            if choice is None:
                return
            pressed = False  # what is on its way makes room
            del candidates[choice.candidate.table]
            yield self.sinks[choice.candidate.table], choice.reason

    def _candidate(self, sink: TableSink, now: Now) -> Candidate:
        return sink.candidate(Trigger.DRAIN if self._draining else sink.due(now.mono))

    def _absent(self, candidates: Collection[str]) -> Iterator[Candidate]:
        """Yield the tables that want to be fresh and have nothing to push now: their next deadline counts already."""
        for sink in self.sinks.values():
            if sink.max_staleness is not None and sink.table not in candidates and not sink.halted:
                yield sink.candidate(None)._replace(rows=0)

    def _flush(self, sink: TableSink, trigger: Trigger, now: Now) -> None:
        try:
            push = sink.flush(trigger)
        except SpoolFull as e:
            self._lost_to_disk(sink, sink.buffer.held, str(e), now)
            return
        self.pushes.start(sink, push)
        self._observer.flushed(push.load, now.mono)

    # --- 5 hold back ------------------------------------------------------------------------------------------

    def held_back(self, now: Now) -> dict[TopicPartition, str]:
        """Return the partitions that must not flow now, and why."""
        assigned = self._source.assigned
        for reason, holds in (
            ("draining", self._draining),
            ("dead_letters", self._dead_letters.full),
            ("spool", self._disk_again_at > now.mono or self._spool.full()),
        ):
            if holds:
                return dict.fromkeys(assigned, reason)
        topics = dict.fromkeys(self._sated(now), "budget")
        topics |= {topic: "stalled" for topic, until in self._stalled.items() if until > now.mono}
        topics |= {topic: "isolating" for topic, sink in self._topics.items() if sink.full_for_search}
        topics |= {topic: "halted" for topic, sink in self._topics.items() if sink.halted}
        topics |= dict.fromkeys(self.unroutable, "halted")
        by_topic = {tp: topics[tp.topic] for tp in assigned if tp.topic in topics} if topics else {}
        return by_topic | self.orders.held | dict.fromkeys(self._source.gone, "data_loss") | self.recovery.held

    def _sated(self, now: Now) -> Iterator[str]:
        """Yield the topics of tables that have a push's worth, while so few pushes are left that it must wait long."""
        if self._budget.low(now):
            for topic, sink in self._topics.items():
                if sink.push or sink.due(now.mono):
                    yield topic

    # --- 6 commit, and who owns what --------------------------------------------------------------------------

    def _held(self) -> Iterator[Iterable[OffsetRange]]:
        in_hand = (messages.ranges for messages in self._in_hand)
        return chain((sink.held for sink in self.sinks.values()), (self._dead_letters.held,), in_hand)

    def _commit(self, now: Now) -> None:
        self._dead_letters.serve()
        if self._source.committing or (now.mono < self._commit_at and not self.pushes.urgent):
            return
        self.pushes.urgent = False
        if not self._source.commit(self._commits()):
            self.pushes.urgent = True  # on its way, or to be offered again
            return
        self._commit_at = now.mono + self._commit_interval
        for job_id in self.pushes.unneeded():
            if self._delete_finished_jobs:
                self._pusher.forget(job_id)

    def _commits(self) -> dict[TopicPartition, Committed]:
        """Return what must stand in Kafka: derived at every step, so it cannot drift from what is held."""
        waiting = self.recovery.held
        safe = safe_offsets(self._source.positions, self._held())
        wanted = {tp: Committed(offset) for tp, offset in safe.items() if tp not in waiting}
        for tp, note in self.pushes.notes().items():
            if note is None:
                wanted.pop(tp, None)
            elif tp in wanted:
                wanted[tp] = note
        return wanted

    def assigned(self, committed: Mapping[TopicPartition, Committed]) -> Collection[TopicPartition]:
        """Take note of new partitions and what is committed of each; return those that must not flow yet."""
        self._observer.rebalanced("assigned")
        log.info("assigned partitions", partitions=len(committed), total=len(self._source.assigned))
        self.recovery.assigned(committed)
        self.orders.assigned(committed.keys())
        return self.recovery.held.keys() | self.orders.held.keys()

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Commit what is safe of `partitions` while they are still ours, and forget the rest of them.

        No intent is sent here: without those of the partitions that stay, it would name a job that is dropped next.
        """
        leaving = set(partitions) - self.pushes.undecided
        self._source.commit({tp: c for tp, c in self._commits().items() if tp in leaving})
        self._observer.rebalanced("revoked")
        log.info("revoked partitions", partitions=len(partitions))
        self._forget(partitions)

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what is here of `partitions`: someone else reads them already."""
        self._observer.rebalanced("lost")
        log.warning("lost partitions", partitions=len(partitions))
        self._forget(partitions)

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        self.recovery.drop(partitions)
        self.orders.drop(partitions)
        for sink in self.sinks.values():
            sink.drop(set(partitions))
        self._dead_letters.drop(partitions)
