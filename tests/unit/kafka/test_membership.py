"""Whether the group has us for its member, by what the client tells."""

from __future__ import annotations

import json

from connector.kafka.membership import ANSWERS_AGAIN, MEMBER_MS, Membership


def statistics(answers: int = 0, *, state: str = "up", age: int = MEMBER_MS + 1) -> str:
    coordinator = {"GroupCoordinator": {"state": "UP", "rx": answers}}
    return json.dumps({"cgrp": {"state": state, "stateage": age, "join_state": "init"}, "brokers": coordinator})


def test_where_members_are_told_their_part_nothing_else_counts() -> None:
    found = Membership("classic")
    for answers in range(9):
        found.on_statistics(statistics(answers))
    assert not found.joined
    found.taken_in()
    assert found.joined
    found.given_up()
    for answers in range(9):
        found.on_statistics(statistics(answers))
    assert not found.joined


def test_where_nobody_tells_a_member_without_a_part_is_one_once_its_coordinator_is_known_for_a_moment() -> None:
    found = Membership("consumer")
    found.on_statistics(statistics(state="query-coord"))
    found.on_statistics(statistics(age=MEMBER_MS))
    assert not found.joined
    found.on_statistics(statistics())
    assert found.joined


def test_who_was_given_up_is_no_member_before_the_coordinator_has_answered_anew() -> None:
    found = Membership("consumer")
    found.taken_in()
    found.given_up()
    for _ in range(3):  # that the coordinator was known all the time says nothing
        found.on_statistics(statistics(40))
    found.on_statistics(statistics(40 + ANSWERS_AGAIN - 1))
    assert not found.joined
    found.on_statistics(statistics(40 + ANSWERS_AGAIN))
    assert found.joined


def test_answers_before_the_coordinator_was_found_again_do_not_count() -> None:
    found = Membership("consumer")
    found.given_up()
    found.on_statistics(statistics(40))
    found.on_statistics(statistics(60, state="wait-coord"))
    found.on_statistics(statistics(61))
    assert not found.joined
    found.on_statistics(statistics(60 + ANSWERS_AGAIN))
    assert found.joined


def test_who_is_given_a_part_is_a_member_at_once_and_the_next_loss_begins_anew() -> None:
    found = Membership("consumer")
    found.given_up()
    found.on_statistics(statistics(40))
    found.taken_in()
    assert found.joined
    found.given_up()
    found.on_statistics(statistics(90))
    assert not found.joined
