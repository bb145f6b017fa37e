"""Owns giving memory back to the system: allocators keep what a thread has freed, and the next load has another one.

Never frees what is in use. Invariant: without an allocator that can be asked, nothing happens.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable


def give_back() -> None:
    """Let go of what this thread has freed in Arrow, and what any thread has freed of numpy's arrays."""
    pa.default_memory_pool().release_unused()
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    """Return the C library's `malloc_trim` (glibc has it, others do not)."""
    trim: Callable[[int], object] = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)
    return trim
