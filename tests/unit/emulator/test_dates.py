"""Date patterns of CSV options."""

from __future__ import annotations

import pytest

from connector.emulator.dates import strptime_format


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("yyyy-MM-dd", "%Y-%m-%d"),
        ("yyyy-MM-dd'T'HH:mm:ss.SSS", "%Y-%m-%dT%H:%M:%S.%g"),
        ("dd.MM.yy h:mm a", "%d.%m.%y %-I:%M %p"),
        ("yyyyMMddHHmmss", "%Y%m%d%H%M%S"),
        ("yyyy''MM", "%Y'%m"),
        ("yyyy'o''clock'", "%Yo'clock"),
        ("yyyy%MM", "%Y%%%m"),
        ("EEE, d MMM yyyy", "%a, %-d %b %Y"),
        ("", ""),
    ],
)
def test_a_pattern_is_translated(pattern: str, expected: str) -> None:
    assert strptime_format(pattern) == expected


@pytest.mark.parametrize("pattern", ["QQ", "yyy", "yyyy-MM-dd'T", "SS", "%Y-%m"])
def test_a_pattern_that_is_not_understood_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="the date format"):
        strptime_format(pattern)
