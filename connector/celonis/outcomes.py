"""Owns the outcome table of the Data Push API: what an answer, or its absence, asks for.

Pure: never sends, waits or logs. Invariant: an answer that leaves the effect in doubt never reads as success or as
"nothing happened".
"""

from __future__ import annotations

import math
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from connector.errors import Reaction

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_HINT = 3600.0  # the budget's window: no wait can be longer


class Operation(StrEnum):
    """The operations of the contract (data-push-api.md, "Operations")."""

    CREATE = "create"
    LIST = "list"
    GET = "get"
    UPLOAD = "upload"
    CHUNKS = "list-chunks"
    EXECUTE = "execute"
    CANCEL = "cancel"
    DELETE = "delete"
    TOKEN = "token"  # noqa: S105 - the name of an operation


_IN_DOUBT = {
    Operation.CREATE: Reaction.REMAKE,
    Operation.UPLOAD: Reaction.COMPARE,
    Operation.EXECUTE: Reaction.ASK,
}  # every other operation may be repeated


def reaction(operation: Operation, status: int, *, connected: bool = True) -> Reaction:
    """Return what to do after `status` (0: no trustworthy answer); `connected` False: the request never left."""
    if 200 <= status < 300:  # noqa: PLR2004
        return Reaction.PROCEED
    if not connected or status in (429, 503) or (status == 409 and operation is Operation.EXECUTE):  # noqa: PLR2004
        return Reaction.LATER
    if status == 401:  # noqa: PLR2004
        return Reaction.REAUTHORIZE
    if 400 <= status < 500 and status != 408:  # noqa: PLR2004 - 408 is the server's own timeout
        return Reaction.STOP
    return _IN_DOUBT.get(operation, Reaction.AGAIN)


def wait_hint(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that an answer asks to wait, or None; `now` is UTC seconds since the epoch.

    Read are `Retry-After` (seconds or a date, RFC 9110) and `x-ratelimit-reset` (seconds); the longer one counts.
    """
    hints = [_seconds(headers.get("x-ratelimit-reset")), _retry_after(headers.get("retry-after"), now)]
    return max((hint for hint in hints if hint is not None), default=None)


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return min(value, LONGEST_HINT) if math.isfinite(value) and value >= 0 else None


def _retry_after(text: str | None, now: float) -> float | None:
    seconds = _seconds(text)
    if seconds is not None or not text:
        return seconds
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)  # RFC 9110: a date is in UTC
    return min(max(0.0, aware.timestamp() - now), LONGEST_HINT)
