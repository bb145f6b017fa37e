"""Names as the platform can take them."""

from __future__ import annotations

import pytest

from connector.core.names import MAX_NAME, column_names, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        pytest.param("amount_2", "amount_2", id="letters, digits and _ stay"),
        pytest.param("order-id.Größe", "order_id_Gr__e", id="everything else becomes _"),
        pytest.param("2nd", "_2nd", id="a digit in front gets a prefix"),
        pytest.param("", "_", id="the empty name is _"),
        pytest.param("Epoch", "Epoch_", id="names that the platform keeps for itself get a suffix"),
        pytest.param("_CELONIS_CHANGE_DATE", "_CELONIS_CHANGE_DATE_", id="also its own column"),
        pytest.param("\ud800", "_", id="half a surrogate pair is no reason to fail"),
    ],
)
def test_a_name_becomes_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_long_names_are_cut_and_stay_apart() -> None:
    names = {safe_name("x" * 200 + end) for end in ("a", "b", "\ud800")}
    assert len(names) == 3
    assert {len(name) for name in names} == {MAX_NAME}


def test_nested_names_are_joined_by_underscores() -> None:
    assert column_names([("a",), ("b", "c")], {}) == {("a",): "a", ("b", "c"): "b_c"}


def test_of_names_that_fall_together_the_safe_one_stays_and_the_others_get_a_suffix() -> None:
    names = column_names([("a.b",), ("a", "b"), ("a_b",), ("A_B",), ("a-b",)], {})
    assert names["a_b",] == "a_b"
    assert len({name.lower() for name in names.values()}) == 5
    assert all(name.lower().startswith("a_b_") for path, name in names.items() if path != ("a_b",))


def test_a_name_once_given_stays_whoever_comes_later() -> None:
    first = column_names([("Id",)], {})
    second = column_names([("id",), ("Id",)], first)
    assert second["Id",] == "Id"
    assert second["id",].startswith("id_")
    assert column_names([("id",)], second) == second


def test_a_table_that_lives_longer_than_the_process_gives_the_same_names_in_another_order() -> None:
    first = column_names([("Id",), ("id",)], {})
    second = column_names([("id",), ("Id",)], {}, columns=first.values())
    assert second == first


def test_reserved_names_are_never_given() -> None:
    names = column_names([("_kafka_offset",)], {}, reserved=["_KAFKA_OFFSET"])
    assert names["_kafka_offset",].startswith("_kafka_offset_")


def test_a_suffix_that_is_taken_grows() -> None:
    suffixed = column_names([("a",), ("A",)], {})["A",]
    names = column_names([("a",), (suffixed,), ("A",)], {})
    assert names["A",].startswith(suffixed)
    assert len(names["A",]) == len(suffixed) + 1


def test_paths_with_the_same_spelling_stay_apart() -> None:
    long = "x" * 130
    assert len(set(column_names([(long, "y"), (f"{long}.y",)], {}).values())) == 2
