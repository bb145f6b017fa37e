"""Owns the shape in which every format hands over its columns: leaves, one per scalar place in a message.

Never knows a table. Invariant: a leaf's values stand in the one Arrow type of its column type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from connector.core.columns import ColumnType
    from connector.core.messages import MessageBatch, Reject

Path = tuple[str, ...]


class Leaf(NamedTuple):
    """The values found at `path`, one per row of its part; `nulled` of them were dates out of range."""

    path: Path
    type: ColumnType
    values: pa.Array
    nulled: int = 0


class Part(NamedTuple):
    """Rows that were decoded together: their leaves, and the number (int64, ascending) of each row's message."""

    leaves: list[Leaf]
    rows: npt.NDArray[np.int64]


class Format(Protocol):
    """Bytes of messages into leaves."""

    def read(self, messages: MessageBatch, rows: Sequence[int]) -> tuple[list[Part], list[Reject]]:
        """Decode the messages numbered `rows`, all of which have a value that is not empty.

        Raises:
            RegistryUnavailable: a schema is not known yet; nothing was decoded.
        """
        ...


class Schemas(Protocol):
    """Where writer schemas come from: the schema registry."""

    def get(self, schema_id: int) -> tuple[str, tuple[str, ...]]:
        """Return a schema and the schemas it refers to (those that others build on first), as JSON text.

        Raises:
            UnknownSchema: the registry has no such schema.
            RegistryUnavailable: it gave no answer.
        """
        ...
