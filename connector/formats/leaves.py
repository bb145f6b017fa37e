"""Owns the shape in which every format hands over its columns: leaves, one per scalar place in a message.

Never knows a table. Invariant: a leaf's values stand in the one Arrow type of its column type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import pyarrow as pa

    from connector.core.columns import ColumnType
    from connector.core.messages import MessageBatch, Reject

Path = tuple[str, ...]


class Leaf(NamedTuple):
    """The values found at `path`, one per row of its part; `nulled` of them were dates out of range.

    Where values of several sorts were found, `type` holds all of them, and `sorts` each sort on its own, null where
    there is another: what becomes of a value in a column must not depend on the values beside it.
    """

    path: Path
    type: ColumnType
    values: pa.Array
    nulled: int = 0
    sorts: tuple[Leaf, ...] = ()


class Part(NamedTuple):
    """Rows that were decoded together: their leaves, and the number (int64, ascending) of each row's message."""

    leaves: list[Leaf]
    rows: npt.NDArray[np.int64]


class Format(Protocol):
    """Bytes of messages into leaves."""

    def read(
        self, messages: MessageBatch, rows: Sequence[int], types: Mapping[Path, ColumnType]
    ) -> tuple[list[Part], list[Reject]]:
        """Decode the messages numbered `rows` (ascending), all of which have a value that is not empty.

        `types` says what the columns of the places known so far hold; a new mapping whenever that changes.

        Raises:
            RegistryUnavailable: a schema is not known yet; nothing was decoded.
        """
        ...


def numbers_of(rows: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return the numbers of messages as an array."""
    return np.arange(rows.start, rows.stop) if isinstance(rows, range) else np.array(rows, np.int64)


class Schemas(Protocol):
    """Where writer schemas come from: the schema registry."""

    def get(self, schema_id: int) -> tuple[str, tuple[str, ...]]:
        """Return a schema and the schemas it refers to (those that others build on first), as JSON text.

        Raises:
            UnknownSchema: the registry has no such schema.
            RegistryUnavailable: it gave no answer.
        """
        ...
