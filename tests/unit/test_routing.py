"""Which table a topic goes to."""

from __future__ import annotations

import pytest

from connector.config import Table
from connector.errors import ConfigError
from connector.routing import Routes


def entry(*topics: str, target: str = "{topic}") -> Table:
    return Table(topics=list(topics), format="json", target=target)


def test_a_topic_goes_to_the_table_of_its_name_made_safe() -> None:
    table = entry("orders.v1")
    assert Routes([table]).route("orders.v1") == (table, "orders_v1")


def test_exact_names_come_before_expressions_and_the_first_of_each_wins() -> None:
    first, second, third = (
        entry("^a.*", target="first"),
        entry("ab", "^ab", target="second"),
        entry("ab", target="third"),
    )
    routes = Routes([first, second, third])
    assert [routes.route(topic)[0] for topic in ("ab", "ac", "abc")] == [second, first, first]
    assert routes.topics == ["ab", "^a.*", "^ab"]


def test_several_topics_may_share_a_table_that_is_named() -> None:
    table = entry("a", "b", target="all {}")
    assert [Routes([table]).route(t)[1] for t in ("a", "b")] == ["all___", "all___"]


def test_the_topic_may_be_part_of_the_name() -> None:
    assert Routes([entry("a", target="RAW_{topic}")]).route("a")[1] == "RAW_a"


def test_a_topic_that_no_entry_takes_is_said() -> None:
    with pytest.raises(ConfigError, match="no entry takes topic b: add it"):
        Routes([entry("a")]).route("b")


def test_two_entries_never_fill_one_table_whatever_the_case() -> None:
    with pytest.raises(ConfigError, match=r"tables\[1\]\.target: t is filled by tables\[0\] already"):
        Routes([entry("a", target="T"), entry("b", target="t")])


def test_a_topic_that_turns_up_later_cannot_enter_the_table_of_another_entry() -> None:
    routes = Routes([entry("a", target="T"), entry("^.*")])
    assert routes.route("a")[1] == "T"
    with pytest.raises(ConfigError, match="topic t goes to table T, which another entry fills: set another target"):
        routes.route("t")


def test_two_topics_whose_names_fall_together_never_meet_in_one_table_unasked() -> None:
    routes = Routes([entry("^a.*")])
    assert routes.route("a.b")[1] == "a_b"
    with pytest.raises(ConfigError, match=r"topic a_b goes to table a_b, which topic a\.b fills"):
        routes.route("a_b")
    assert routes.route("a.b")[1] == "a_b"


def test_a_table_is_known_beforehand_or_since_its_first_topic_came() -> None:
    routes = Routes([entry("a"), entry("^b.*"), entry("^c.*", target="all_c")])
    assert [name for _, name in routes.known] == ["a", "all_c"]
    routes.route("b1")
    assert [name for _, name in routes.known] == ["a", "all_c", "b1"]
