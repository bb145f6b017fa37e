"""Owns the shape of what commands print: columns that stand below each other, and lines that are not too long.

Never knows what it prints. Invariant: no line is longer than WIDTH, unless a single word is.
"""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH = 100
_SHORTEST_NAME = 8


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows as lines: the first column to the left and cut in its middle where it is too long, the rest right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[0] = max(_SHORTEST_NAME, min(widths[0], WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1)))
    for name, *cells in rows:
        first = name if len(name) <= widths[0] else f"{name[: widths[0] - 5]}…{name[-4:]}"
        rest = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *rest]).rstrip()


def counted(number: int, what: str) -> str:
    """Return a number of things, whose name (of one) is `what`."""
    ending = "" if number == 1 else "es" if what.endswith("sh") else "s"
    return f"{number:,} {what}{ending}"


def wrapped(prefix: str, said: str) -> list[str]:
    """Return the lines of a text behind `prefix`, indented below it."""
    return wrap(prefix + said, WIDTH, subsequent_indent=" " * len(prefix), break_long_words=False)
