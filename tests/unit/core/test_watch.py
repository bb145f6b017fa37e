"""Who is stuck, and who only stands still for a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.core.offsets import TopicPartition
from connector.core.watch import PATIENCE, Changes, Stuck, Watch

if TYPE_CHECKING:
    from collections.abc import Collection

P, Q = TopicPartition("orders", 0), TopicPartition("orders", 1)
NOTHING_NEW = Changes({}, [])
STUCK = Changes({P: Stuck(7, 3)}, [])


class Watched:
    """A watch over P, and the time."""

    def __init__(self) -> None:
        self.watch, self.now = Watch(), 1000.0
        self.look()

    def look(
        self, position: int = 7, lag: int | None = 3, paused: Collection[TopicPartition] = (), after: float = 0.0
    ) -> Changes:
        self.now += after
        return self.watch.look({P: position}, {} if lag is None else {P: lag}, paused, self.now)

    def stand(
        self, seconds: float, position: int = 7, lag: int | None = 3, paused: Collection[TopicPartition] = ()
    ) -> list[Changes]:
        """Look once a second; return what was new."""
        looks = [self.look(position, lag, paused, after=1.0) for _ in range(int(seconds))]
        return [changes for changes in looks if changes != NOTHING_NEW]


def test_a_partition_that_has_messages_and_does_not_move_for_a_minute_is_stuck_and_told_once() -> None:
    watched = Watched()
    assert watched.stand(PATIENCE - 1) == []
    assert watched.stand(1) == [STUCK]
    assert watched.stand(100, lag=9) == []
    assert watched.watch.stuck == {P: Stuck(7, 9)}


def test_any_movement_begins_the_minute_anew_and_heals() -> None:
    watched = Watched()
    assert watched.stand(PATIENCE - 1) == []
    assert watched.stand(PATIENCE, position=8) == []
    assert watched.stand(1, position=8) == [Changes({P: Stuck(8, 3)}, [])]
    assert watched.look(position=5, after=1) == Changes({}, [P]), "back is movement too"
    assert watched.watch.stuck == {}


def test_where_nothing_is_to_be_read_or_known_to_be_nothing_is_stuck() -> None:
    watched = Watched()
    assert watched.stand(200, lag=0) == []
    assert watched.stand(200, lag=None) == []
    assert watched.stand(PATIENCE) == [STUCK]
    assert watched.look(lag=0, after=1) == Changes({}, [P])


def test_the_time_in_which_a_partition_is_held_back_does_not_count() -> None:
    watched = Watched()
    assert watched.stand(PATIENCE - 10) == []
    assert watched.stand(500, paused=[P]) == []
    assert watched.stand(10) == [], "a second of them was the way out of the pause"
    assert watched.stand(1) == [STUCK]


def test_a_stuck_partition_that_is_held_back_stays_stuck_until_it_moves() -> None:
    watched = Watched()
    watched.stand(PATIENCE)
    assert watched.stand(10, paused=[P]) == []
    assert watched.watch.stuck
    assert watched.look(position=8, after=1) == Changes({}, [P])


def test_a_new_assignment_starts_anew_and_a_partition_that_left_is_neither_stuck_nor_healed() -> None:
    watched = Watched()
    watched.stand(PATIENCE)
    assert watched.watch.look({}, {}, (), watched.now + 1) == NOTHING_NEW
    assert watched.watch.stuck == {}
    assert watched.stand(PATIENCE) == []
    assert watched.stand(1) == [STUCK]


def test_a_loop_that_stood_still_says_nothing_of_the_partitions() -> None:
    watched = Watched()
    assert watched.look(after=3600.0) == NOTHING_NEW
    assert watched.stand(PATIENCE - 6) == []
    assert watched.stand(1) == [STUCK]


def test_partitions_are_watched_each_for_itself() -> None:
    watch = Watch()
    looks = [watch.look({P: 7, Q: second}, {P: 3, Q: 3}, (), float(second)) for second in range(62)]
    assert [changes for changes in looks if changes != NOTHING_NEW] == [STUCK]
