"""Owns the hashes of keys: numbers that are equal where keys are, computed in columns.

Never decides whether two keys are equal: others may share a hash. Invariant: a hash depends on the values alone, not on
how they are cut into batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Hashes: TypeAlias = npt.NDArray[np.uint64]
    Offsets: TypeAlias = npt.NDArray[np.int64]

_SLICE_BYTES = 1 << 16  # of text at a time: the numbers made of it stay in the processor's cache
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)  # these and the shifts: splitmix64 (Steele, Lea, Flood: OOPSLA 2014)
_SHIFT = np.uint64(31)


def hashes(columns: Sequence[pa.ChunkedArray]) -> Hashes:
    """Return a number for each row, equal where all of its columns are; all columns have the same length."""
    found = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        found = _mixed(found * _FACTOR + _of_values(column.combine_chunks()))
    return found


def _of_values(column: pa.Array) -> Hashes:
    if pa.types.is_string(column.type):
        return _of_texts(column)
    if pa.types.is_floating(column.type):
        values = column.fill_null(0.0).to_numpy(zero_copy_only=False)
        numbers = np.where(np.isnan(values), np.nan, values).view(np.uint64)
    elif pa.types.is_boolean(column.type):
        numbers = pc.cast(column, pa.uint8()).fill_null(0).to_numpy(zero_copy_only=False).astype(np.uint64)
    else:
        plain = column.view(pa.int64() if column.type.bit_width == 64 else pa.int32())  # noqa: PLR2004 - bits
        numbers = plain.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    return _mixed(numbers)


def _of_texts(column: pa.StringArray) -> Hashes:
    """Return the sum over each text of its bytes, each times a number that belongs to its place in the text."""
    column = pc.fill_null(column, "")
    _, offsets, data = column.buffers()
    if data is None or not len(column):
        return np.zeros(len(column), np.uint64)
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    text = np.frombuffer(data, np.uint8)
    found = np.empty(len(column), np.uint64)
    factors = _mixed(np.arange(1, 1 + int(np.diff(bounds).max()), dtype=np.uint64) * _FACTOR)
    first = 0
    while first < len(column):
        stop = max(first + 1, int(np.searchsorted(bounds, bounds[first] + _SLICE_BYTES, side="right")) - 1)
        found[first:stop] = _sums(text, bounds[first : stop + 1], factors)
        first = stop
    return found


def _sums(text: npt.NDArray[np.uint8], bounds: Offsets, factors: Hashes) -> Hashes:
    lengths = np.diff(bounds)
    places = np.arange(bounds[0], bounds[-1]) - np.repeat(bounds[:-1], lengths)
    sums = np.zeros(len(places) + 1, np.uint64)
    np.cumsum((text[bounds[0] : bounds[-1]] + np.uint64(1)) * factors[places], out=sums[1:])
    starts = bounds - bounds[0]
    found: Hashes = sums[starts[1:]] - sums[starts[:-1]]
    return found


def _mixed(numbers: Hashes) -> Hashes:
    mixed: Hashes = (numbers ^ (numbers >> _SHIFT)) * _MIX
    return mixed ^ (mixed >> _SHIFT)
