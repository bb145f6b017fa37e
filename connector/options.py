"""Owns how options of the command line are read: sizes, durations, and rates by name.

Never knows a command. Invariant: what cannot be read is told with an example.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from connector.core.units import parse_bytes, parse_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def read_bytes(_ctx: click.Context, _param: click.Parameter, value: object) -> float:
    """Return a size in bytes, more than 0."""
    return _positive(parse_bytes, value)


def read_seconds(_ctx: click.Context, _param: click.Parameter, value: object) -> float:
    """Return a duration in seconds, more than 0."""
    return _positive(parse_seconds, value)


def _positive(parse: Callable[[object], float], value: object) -> float:
    try:
        number = parse(value)
    except ValueError as e:
        raise click.BadParameter(str(e)) from None
    if number <= 0:
        raise click.BadParameter("must be more than 0")
    return number


def read_rates(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> dict[str, float]:
    """Return records per second by name, from `name=number` each."""
    return dict(map(_rate, values))


def _rate(value: str) -> tuple[str, float]:
    name, _, number = value.rpartition("=")
    try:
        rate = float(number)
    except ValueError:
        rate = math.nan
    if not (name and 0 <= rate < math.inf):
        raise click.BadParameter(f"{value!r} is not like orders=120, which is records per second")
    return name, rate
