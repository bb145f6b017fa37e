"""Alive and ready, as the probes see them."""

from __future__ import annotations

from connector.observe.health import LONGEST_ROUND, Health


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_service_is_alive_from_its_start_as_long_as_the_loop_comes_round() -> None:
    clock = Clock()
    health = Health(clock)
    assert health.alive() == (True, {"seconds_since_last_round": 0.0})
    clock.now += LONGEST_ROUND - 0.1
    assert health.alive()[0]
    health.tell(joined=False)
    clock.now += LONGEST_ROUND - 0.1
    assert health.alive()[0]
    clock.now += 0.1
    assert health.alive() == (False, {"seconds_since_last_round": LONGEST_ROUND})
    health.tell(joined=False)
    assert health.alive()[0]


def test_the_service_is_ready_once_the_group_has_taken_it_in_until_it_leaves() -> None:
    health = Health(Clock())
    assert not health.ready()[0]
    health.tell(joined=True)
    assert health.ready() == (True, {"joined": True, "stopping": False, "brokers_away": None, "halted_tables": []})
    health.tell(joined=True, stopping=True)
    assert not health.ready()[0]


def test_a_halted_table_and_brokers_that_are_away_are_told_and_change_nothing() -> None:
    health = Health(Clock())
    health.tell(joined=True, brokers_away="all down", halted=("T",))
    ready, details = health.ready()
    assert ready
    assert details["brokers_away"] == "all down"
    assert details["halted_tables"] == ["T"]
    assert health.alive()[0]


def test_the_status_names_everything_that_waits_for_a_person() -> None:
    now = [100.0]
    health = Health(lambda: now[0])
    health.tell(joined=True, troubles={"table T": "403 (grant the permission)"}, budget={"pushes_left": 7})
    now[0] += 2
    assert health.status() == {
        "joined": True,
        "stopping": False,
        "brokers_away": None,
        "seconds_since_last_round": 2.0,
        "budget": {"pushes_left": 7},
        "troubles": {"table T": "403 (grant the permission)"},
    }
