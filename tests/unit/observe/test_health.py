"""Alive and ready, as the probes see them."""

from __future__ import annotations

from connector.observe.health import LONGEST_ROUND, PATIENCE, Health


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


def reasons(health: Health) -> list[str]:
    found = health.ready()[1]["reasons"]
    assert isinstance(found, list)
    return found


def test_the_service_is_ready_once_the_group_has_taken_it_in_until_it_leaves() -> None:
    health = Health(Clock())
    health.tell(joined=False)
    assert (health.ready()[0], reasons(health)) == (False, ["the group has not taken it in"])
    health.tell(joined=True)
    found = {"reasons": [], "joined": True, "stopping": False, "brokers_away": None}
    assert health.ready() == (True, found | {"absent_topics": {}, "halted_tables": []})
    health.tell(joined=True, stopping=True)
    assert (health.ready()[0], reasons(health)) == (False, ["it was asked to end, and drains"])


def test_a_halted_table_is_told_and_changes_nothing() -> None:
    health = Health(Clock())
    health.tell(joined=True, halted=("T",))
    ready, details = health.ready()
    assert ready
    assert details["halted_tables"] == ["T"]
    assert health.alive()[0]


def test_at_the_start_everything_must_be_there_at_once() -> None:
    health = Health(Clock())
    health.tell(joined=True, missing={"Celonis": "no answer"})
    assert (health.ready()[0], reasons(health)) == (False, ["Celonis: no answer"])
    health.tell(joined=True)
    assert health.ready()[0]


def test_what_counts_at_first_counts_no_more_once_it_was_ready_and_is_still_shown() -> None:
    clock = Clock()
    health = Health(clock)
    absent = {"orders": "does not exist", "^x": "matches no topic"}
    health.tell(joined=True, at_first={"topic orders": "does not exist"}, absent=absent)
    assert (health.ready()[0], reasons(health)) == (False, ["topic orders: does not exist"])
    health.tell(joined=True, absent={"^x": "matches no topic"})
    assert health.ready()[0], "an expression without a topic never counts"
    for _ in range(2):
        health.tell(joined=True, at_first={"topic orders": "does not exist"}, absent=absent)
        clock.now += PATIENCE
    ready, details = health.ready()
    assert (ready, reasons(health), details["absent_topics"]) == (True, [], absent)
    assert health.status()["absent_topics"] == absent


def test_what_is_missing_later_counts_once_it_lasts_and_until_it_is_back() -> None:
    clock = Clock()
    health = Health(clock)
    health.tell(joined=True)
    health.tell(joined=True, brokers_away="all down")
    clock.now += PATIENCE - 0.1
    health.tell(joined=True, brokers_away="refused", missing={"Celonis": "no answer"})
    assert (health.ready()[0], reasons(health)) == (True, ["brokers: refused", "Celonis: no answer"])
    clock.now += 0.1
    health.tell(joined=True, brokers_away="refused", missing={"Celonis": "no answer"})
    ready, details = health.ready()
    assert (ready, details["brokers_away"]) == (False, "refused")
    assert health.alive()[0]
    health.tell(joined=True, missing={"Celonis": "no answer"})
    assert health.ready()[0], "Celonis has not been missing for so long"
    health.tell(joined=True)
    assert (health.ready()[0], reasons(health)) == (True, [])


def test_the_status_names_everything_that_waits_for_a_person() -> None:
    now = [100.0]
    health = Health(lambda: now[0])
    health.tell(joined=True, troubles={"table T": "403 (grant the permission)"}, budget={"pushes_left": 7})
    now[0] += 2
    assert health.status() == {
        "joined": True,
        "stopping": False,
        "brokers_away": None,
        "reasons": [],
        "absent_topics": {},
        "seconds_since_last_round": 2.0,
        "budget": {"pushes_left": 7},
        "troubles": {"table T": "403 (grant the permission)"},
    }
