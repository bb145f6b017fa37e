"""Owns the refusals of the API: statuses, bodies and headers as the contract has them; never decides on one.

Invariant: a 400 carries `errors`, every other refusal `reference, message, shortMessage`, and none a secret or a value.
"""

from __future__ import annotations

import math
import uuid
from typing import Any

from connector.emulator.settings import Hints


class ApiError(Exception):
    """A refusal, to be answered as it is."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body
        self.headers = headers or {}


def problem(attribute: str, error: str, code: str) -> dict[str, Any]:
    """Return one entry of a 400's `errors`."""
    return {"attribute": attribute, "error": error, "errorCode": code, "additionalInfo": None}


def invalid(attribute: str, error: str, code: str = "invalid") -> ApiError:
    """Return a 400 about one attribute."""
    return ApiError(400, {"errors": [problem(attribute, error, code)]})


def refused(status: int, message: str, headers: dict[str, str] | None = None) -> ApiError:
    """Return any other refusal."""
    return ApiError(status, failure(message), headers)


def failure(message: str) -> dict[str, Any]:
    """Return the body of everything that is not a 400."""
    return {"reference": str(uuid.uuid4()), "message": message, "shortMessage": message.split(".", maxsplit=1)[0]}


def throttled(limit: int, wait: float, hints: Hints) -> ApiError:
    """Return a 429 of a window with `limit` requests, after which the next one opens in `wait` true seconds."""
    seconds = str(math.ceil(wait))
    headers = {
        Hints.RATELIMIT: {"x-ratelimit-limit": str(limit), "x-ratelimit-remaining": "0", "x-ratelimit-reset": seconds},
        Hints.RETRY_AFTER: {"retry-after": seconds},
        Hints.NONE: {},
    }[hints]
    return refused(429, "Too many requests to submit jobs", headers)
