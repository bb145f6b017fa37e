"""Owns the errors of the Celonis client: an answer, or none, becomes an error with its reaction, ids and hint.

Never sends. Invariant: an error shows what the platform said, shortened, and never what we sent.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NamedTuple

import httpx
import orjson

from connector.celonis.outcomes import Operation, reaction, wait_hint
from connector.errors import (
    CelonisError,
    CelonisRefused,
    CelonisThrottled,
    CelonisUnauthorized,
    CelonisUnreachable,
    Reaction,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_REQUEST_IDS = ("x-request-id", "x-correlation-id", "x-amzn-requestid", "x-amzn-trace-id", "cf-ray", "traceparent")
_HINTS = {
    0: "look at what answers in the place of Celonis: check celonis.team_url and celonis.proxy",
    401: "the key is wrong or expired: renew celonis.auth",
    403: "grant the key the permission 'Data Push API' on the data pool, celonis.pool_id",
    404: "check celonis.team_url, celonis.pool_id and celonis.api_prefix",
    413: "lower spool.chunk_bytes",
}
_SHOWN = 500  # characters of an answer


class Answer(NamedTuple):
    """What came back; `status` 0 where it made no sense."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_page(self) -> bool:
        """Whether something answered that is not the API: a login page, a proxy's page."""
        return self.headers.get("content-type", "").startswith("text/html") or self.body.lstrip()[:1] == b"<"


def failure_of_answer(operation: Operation, answer: Answer, job_id: str, detail: str = "") -> CelonisError:
    """Return the error of an answer; `detail` says it in our words where the answer has none."""
    status, headers, body = answer
    react = reaction(operation, status)
    said = detail or _said(body)
    about = f" of job {job_id}" if job_id else ""
    kind = _KINDS.get(react, CelonisUnreachable)
    error = kind(
        f"{operation}{about}: {status or 'no trustworthy answer'}{f', {said}' if said else ''}",
        reaction=react,
        operation=operation,
        status=status,
        request_id=next((headers[name] for name in _REQUEST_IDS if name in headers), ""),
        job_id=job_id,
        hint=_answer_hint(status, react, headers.get("location", "")),
    )
    if isinstance(error, CelonisThrottled):
        error.wait = wait_hint(headers, time.time())
    return error


_KINDS: dict[Reaction, type[CelonisError]] = {
    Reaction.LATER: CelonisThrottled,
    Reaction.REAUTHORIZE: CelonisUnauthorized,
    Reaction.STOP: CelonisRefused,
}


def failure_of_silence(
    operation: Operation, error: httpx.HTTPError, job_id: str, request_id: str, team_url: str
) -> CelonisError:
    """Return the error of a request without an answer."""
    connected = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError))
    about = f" of job {job_id}" if job_id else ""
    shown = "" if isinstance(error, httpx.LocalProtocolError) else f" {str(error)[:_SHOWN]}"  # it quotes headers
    return CelonisUnreachable(
        f"{operation}{about}: no answer from {team_url}: {type(error).__name__}{shown}".rstrip(),
        reaction=reaction(operation, 0, connected=connected),
        operation=operation,
        request_id=request_id,
        job_id=job_id,
        hint=_silence_hint(error, connected=connected),
    )


def _answer_hint(status: int, react: Reaction, location: str) -> str:
    if location:
        return f"the address leads to {location.partition('?')[0][:_SHOWN]}: check celonis.team_url"
    return _HINTS.get(status) or ("mend what the answer says, then start again" if react is Reaction.STOP else "")


def _silence_hint(error: httpx.HTTPError, *, connected: bool) -> str:
    text = str(error)
    if isinstance(error, httpx.LocalProtocolError):
        return "check that celonis.auth has no spaces or line ends"
    if connected:
        return ""
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "the certificate is not trusted: set celonis.ca_file to its issuer, or renew it"
    if isinstance(error, httpx.ProxyError):
        return "check celonis.proxy and celonis.proxy_auth"
    return "check celonis.team_url, celonis.proxy and the network's rules"


def _said(body: bytes) -> str:
    """Return what an error body says: the contract's two shapes, else its beginning without markup."""
    try:
        wire = orjson.loads(body)
        if errors := wire.get("errors"):
            text = "; ".join(" ".join(str(e[k]) for k in ("attribute", "error") if e.get(k)) for e in errors)
        else:
            text = " ".join(str(wire[k]) for k in ("message", "shortMessage", "reference", "error") if wire.get(k))
    except (ValueError, AttributeError, TypeError):
        text = re.sub(r"<[^>]*>|\s+", " ", body[: 4 * _SHOWN].decode(errors="replace"))
    return " ".join(text.split())[:_SHOWN]
