"""How long pushes take: one that is unusual changes little, a few say that all do."""

from __future__ import annotations

from connector.core.times import Times


def test_before_anything_was_seen_a_load_is_sealed_a_little_before_its_turn() -> None:
    assert Times().preparing == 1.5
    assert (Times().executing, Times().service) == (2.0, 3.0)


def test_one_slow_preparation_changes_little_and_many_change_all() -> None:
    times = Times()
    times.prepared(11.0)
    assert times.preparing == 4.5
    for _ in range(50):
        times.prepared(11.0)
    assert round(times.preparing, 2) == 16.5


def test_nothing_is_sealed_less_than_a_second_or_more_than_a_minute_ahead() -> None:
    fast, slow = Times(), Times()
    for _ in range(100):
        fast.prepared(0.01)
        slow.prepared(300.0)
    assert (fast.preparing, slow.preparing) == (1.0, 60.0)


def test_executing_and_the_whole_service_have_means_of_their_own() -> None:
    times = Times()
    times.done(service=13.0, executing=7.0)
    assert (times.service, times.executing) == (5.0, 3.0)
