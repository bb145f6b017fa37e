"""Owns the laws: what must hold at every commit, at every job that is applied, and at the end of a schedule.

Never moves anything. The laws:

1. When Kafka takes an offset, every message below it is in its table or on the dead-letter topic: an appended record
   exactly once, an upserted key at this record or a later one, a reject at least once. Committed offsets never go back
   but by an order that stands, and no further than it says.
2. An intent is replaced only once its job is final or unknown; a job that is DONE only by its end.
3. An appended record is never there twice, and nothing is in a table or on the topic that is not in the log.
   While a partition is held, no job stores a record of it.
4. A process never sends more executes than its budget has granted.
5. In the end, when faults have ceased, everything is committed; tables equal the log: append tables hold every record
   exactly once, keyed tables the last record of every key, and the dead letters every reject at least once.

Assumed: a job runs once and is applied as a whole; an upload that was answered does not come in again later (back to
back it may), since whoever rolls a job forward cannot know how many chunks it should hold; a person who deletes the job
of an open intent is told by a halt of the append table. A reject may stand on the dead-letter topic more than once,
since the broker's answer can be lost.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from connector.core.intents import Committed, parse
from connector.core.jobs import Status
from connector.core.offsets import OffsetRange, TopicPartition
from connector.core.orders import OrderKind, OrderState
from tests.property.simulation.platform import Broken
from tests.property.simulation.tables import REJECT, row_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from connector.core.orders import Order
    from tests.property.simulation.platform import Platform, Row

NOTHING = Committed(0)


class Judge:
    """Knows the logs, the platform, which topic goes to which table, and which tables have keys."""

    def __init__(self, platform: Platform, table_of: Mapping[str, str], keyed: Collection[str]) -> None:
        self._platform, self._table_of, self._keyed = platform, table_of, keyed
        self.logs: Mapping[TopicPartition, list[bytes | None]] = {}
        self.dead_letters: Counter[OffsetRange] = Counter()
        self.orders: Mapping[TopicPartition, Order] = {}
        self.excused: set[TopicPartition] = set()  # a person deleted a job of theirs

    # --- at every commit --------------------------------------------------------------------------------------

    def commits(self, before: Mapping[TopicPartition, Committed], after: Mapping[TopicPartition, Committed]) -> None:
        """Judge offsets that Kafka is about to take."""
        for tp, new in after.items():
            old = before.get(tp, NOTHING)
            if new.offset < self._lowest(tp, old):
                raise Broken(f"the commit of {tp} goes back from {old.offset} to {new.offset}")
            if new.metadata != old.metadata:
                self._replaced(tp, old, new)
            for offset in range(old.offset, new.offset):
                self._is_stored(tp, offset)

    def _lowest(self, tp: TopicPartition, old: Committed) -> int:
        """Return how far back the next commit may go."""
        order = self.orders.get(tp)
        ordered = order is not None and order.open and order.kind is not OrderKind.HOLD
        return min(order.offset, old.offset) if order and ordered else old.offset

    def _replaced(self, tp: TopicPartition, old: Committed, new: Committed) -> None:
        intent = parse(old.metadata)
        if intent is None:
            return
        job = self._platform.jobs.get(intent.job)
        if job and not job.status.final:
            raise Broken(f"the intent of {intent.job} on {tp} was replaced while the job is {job.status}")
        if job and job.status is Status.DONE and new.offset < intent.end:
            raise Broken(f"{intent.job} is DONE up to {intent.end}, but {tp} went to {new.offset}")

    def _is_stored(self, tp: TopicPartition, offset: int) -> None:
        if offset >= len(self.logs[tp]):
            raise Broken(f"{tp}@{offset} was committed before it was written")
        value = self.logs[tp][offset]
        row = row_of(tp, offset, value)
        if row:
            self._row_is_stored(row)
        elif value is not None and not self.dead_letters[OffsetRange(*tp, offset, offset + 1)]:
            raise Broken(f"reject {tp}@{offset} was committed and is not on the dead-letter topic")

    def _row_is_stored(self, row: Row) -> None:
        table = self._table_of[row.topic]
        if table in self._keyed:
            stored = self._platform.upserted.get(table, {}).get(row.key)
            if stored is None or stored.offset < row.offset:
                raise Broken(f"{row} was committed and the table has {stored}")
        elif (count := self._platform.appended.get(table, Counter())[row]) != 1:
            raise Broken(f"{row} was committed and is stored {count} times")

    # --- at every job that is applied -------------------------------------------------------------------------

    def applied(self, job_id: str) -> None:
        """Judge what a job has just done."""
        job = self._platform.jobs[job_id]
        for row in (row for rows in job.chunks for row in rows):
            tp = TopicPartition(row.topic, row.partition)
            if (order := self.orders.get(tp)) and order.state is OrderState.HELD:
                raise Broken(f"{job_id} has stored {row} while {tp} is held")
            if not job.keyed and self._platform.appended[job.table][row] > 1:
                raise Broken(f"{job_id} has stored {row} a second time")
            if row.offset >= len(self.logs[tp]) or row_of(tp, row.offset, self.logs[tp][row.offset]) != row:
                raise Broken(f"{job_id} has invented {row}")

    # --- in the end -------------------------------------------------------------------------------------------

    def end(self, committed: Mapping[TopicPartition, Committed]) -> None:
        """Judge the world once nothing moves any more."""
        rejects: set[OffsetRange] = set()
        last: dict[str, dict[str, Row]] = {table: {} for table in self._keyed}
        expected: dict[str, Counter[Row]] = {t: Counter() for t in self._table_of.values() if t not in self._keyed}
        for tp in sorted(self.logs):
            for offset, value in enumerate(self.logs[tp]):
                row = row_of(tp, offset, value)
                if row and self._table_of[tp.topic] in self._keyed:
                    last[self._table_of[tp.topic]][row.key] = row
                elif row:
                    expected[self._table_of[tp.topic]][row] += 1
                elif value is not None and value.startswith(REJECT):
                    rejects.add(OffsetRange(*tp, offset, offset + 1))
        self._tables_equal(expected, last)
        missing = {r for r in rejects if not self.dead_letters[r] and r.tp not in self.excused}
        if missing or self.dead_letters.keys() - rejects:
            raise Broken(f"dead letters lack {missing}, and {self.dead_letters.keys() - rejects} are none")
        for tp, log in self.logs.items():
            if committed.get(tp, NOTHING) != Committed(len(log)) and tp not in self.excused:
                raise Broken(f"{tp} ends at {committed.get(tp)} instead of {len(log)}")

    def _tables_equal(self, expected: Mapping[str, Counter[Row]], last: Mapping[str, dict[str, Row]]) -> None:
        for table, rows in expected.items():
            found = self._platform.appended.get(table, Counter())
            missing = {r for r in rows - found if TopicPartition(r.topic, r.partition) not in self.excused}
            if missing or found - rows:
                raise Broken(f"table {table} lacks {sorted(missing)} and has too many {sorted(found - rows)}")
        for table, keys in last.items():
            stored = self._platform.upserted.get(table, {})
            wrong = {k: (stored.get(k), row) for k, row in keys.items() if stored.get(k) != row}
            wrong = {k: v for k, v in wrong.items() if TopicPartition(*v[1][:2]) not in self.excused}
            if wrong or stored.keys() - keys.keys():
                raise Broken(f"table {table} differs from the log: {wrong}, invented {stored.keys() - keys.keys()}")
