"""Sizes and durations as people write them."""

from __future__ import annotations

import pytest

from connector.core.units import parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("256 MiB", 256 << 20), ("1GB", 10**9), (" 1.5 kb ", 1500), ("7", 7), ("7 B", 7), (12, 12), (1.6, 2), (0, 0)],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("500 ms", 0.5), ("60", 60), ("5 min", 300), ("1.5h", 5400), ("1 d", 86400), (0.25, 0.25)]
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "fast", "5 parsecs", "-1 s", "1e3", -1, True, None, [], float("nan"), float("inf"), "1 s 2 s"],
)
def test_what_is_not_clear_is_refused_with_examples(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 500 ms"):
        parse_seconds(text)
    with pytest.raises(ValueError, match="expected a size such as 256 MiB"):
        parse_bytes(text)
