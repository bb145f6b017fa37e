"""What the client's errors say, carry and never show."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from connector.celonis.auth import KeyAuth
from connector.celonis.outcomes import Operation
from connector.errors import (
    CelonisError,
    CelonisRefused,
    CelonisThrottled,
    CelonisUnauthorized,
    CelonisUnreachable,
    Reaction,
)
from tests.unit.celonis.wire import SECRET, TEAM, EndlessBody, Wire, answered, job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from connector.celonis.client import DataPushClient

PAGE = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>"


def failure(wire: Wire, call: Callable[[DataPushClient], object] = lambda c: c.get_job("job-1")) -> CelonisError:
    """Return the error that `call` ends in."""
    with wire.client(timeout=5) as client, pytest.raises(CelonisError) as caught:
        call(client)
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (
            400,
            {"errors": [{"attribute": "keys", "error": "is missing", "errorCode": "x", "additionalInfo": None}]},
            "get of job job-1: 400, keys is missing",
        ),
        (400, {"errors": [{"error": "a"}, {"attribute": None, "error": "b"}]}, "get of job job-1: 400, a; b"),
        (
            500,
            {"reference": "ref-1", "message": "It broke", "shortMessage": "broke"},
            "get of job job-1: 500, It broke broke ref-1",
        ),
        (500, {"reference": None, "message": "It broke"}, "get of job job-1: 500, It broke"),
    ],
)
def test_an_error_says_what_the_platform_said(status: int, body: Any, says: str) -> None:
    assert failure(Wire(answered(body, status))).args[0] == says


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"7", b'{"errors": 7}', b'{"errors": ["x"]}', b'{"errors": [{}]}', b"\xff\xfe", b"{"]
)
def test_a_body_that_says_nothing_is_no_trouble(body: bytes) -> None:
    error = failure(Wire(httpx.Response(502, content=body)))
    assert error.status == 502
    assert error.args[0].startswith("get of job job-1: 502")


def test_a_page_is_shown_without_its_markup() -> None:
    assert failure(Wire(httpx.Response(502, html=PAGE))).args[0] == "get of job job-1: 502, Sign in Sign in"


def test_a_huge_error_is_shown_in_short() -> None:
    error = failure(Wire(httpx.Response(400, content=b"x" * 5_000_000)))
    assert len(str(error)) < 1000


@pytest.mark.parametrize(
    ("status", "kind", "hint"),
    [
        (400, CelonisRefused, "mend what the answer says, then start again"),
        (401, CelonisUnauthorized, "the key is wrong or expired: renew celonis.auth"),
        (403, CelonisRefused, "grant the key the permission 'Data Push API' on the data pool, celonis.pool_id"),
        (404, CelonisRefused, "check celonis.team_url, celonis.pool_id and celonis.api_prefix"),
        (413, CelonisRefused, "lower spool.chunk_bytes"),
        (429, CelonisThrottled, ""),
        (500, CelonisUnreachable, ""),
        (503, CelonisThrottled, ""),
    ],
)
def test_an_error_names_the_setting_to_fix(status: int, kind: type[CelonisError], hint: str) -> None:
    error = failure(Wire(answered(None, status)))
    assert type(error) is kind
    assert error.hint == hint
    assert (error.operation, error.status, error.job_id) == (Operation.GET, status, "job-1")


def test_a_redirect_is_not_followed_and_says_where_it_leads_without_its_query() -> None:
    wire = Wire(answered(None, 302, location="https://login.example/sso?token=abc"))
    error = failure(wire)
    assert len(wire.requests) == 1
    assert error.hint == "the address leads to https://login.example/sso: check celonis.team_url"


def test_the_wait_comes_with_the_error() -> None:
    error = failure(Wire(answered(None, 429, x_ratelimit_reset="30")))
    assert isinstance(error, CelonisThrottled)
    assert error.wait == 30.0
    error = failure(Wire(answered(None, 409, retry_after="3")), lambda c: c.execute("job-1"))
    assert isinstance(error, CelonisThrottled)
    assert error.wait == 3.0


@pytest.mark.parametrize("name", ["x-request-id", "X-Correlation-Id", "x-amzn-trace-id", "cf-ray"])
def test_the_platforms_id_of_the_request_comes_with_the_error(name: str) -> None:
    assert failure(Wire(httpx.Response(500, headers={name: "id-7"}))).request_id == "id-7"


def test_our_id_of_the_request_comes_with_the_error_when_nobody_answers() -> None:
    wire = Wire(httpx.ReadTimeout("too slow"))
    error = failure(wire)
    assert error.request_id == wire.request.headers["x-request-id"]
    assert (error.status, error.reaction) == (0, Reaction.AGAIN)
    assert error.args[0] == f"get of job job-1: no answer from {TEAM}: ReadTimeout too slow"


@pytest.mark.parametrize(
    ("silence", "asks", "hint"),
    [
        (
            httpx.ConnectError("refused"),
            Reaction.LATER,
            "check celonis.team_url, celonis.proxy and the network's rules",
        ),
        (httpx.ConnectTimeout(""), Reaction.LATER, "check celonis.team_url, celonis.proxy and the network's rules"),
        (httpx.ProxyError("407"), Reaction.LATER, "check celonis.proxy and celonis.proxy_auth"),
        (
            httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]"),
            Reaction.LATER,
            "the certificate is not trusted: set celonis.ca_file to its issuer, or renew it",
        ),
        (httpx.ReadTimeout(""), Reaction.ASK, ""),
        (httpx.WriteError("reset"), Reaction.ASK, ""),
        (httpx.RemoteProtocolError("disconnected"), Reaction.ASK, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_silence_says_whether_the_request_left(silence: Exception, asks: Reaction, hint: str) -> None:
    error = failure(Wire(silence), lambda c: c.execute("job-1"))
    assert type(error) is CelonisUnreachable
    assert (error.reaction, error.hint) == (asks, hint)


CALLS: list[tuple[Callable[[DataPushClient, Path], object], Reaction]] = [
    (lambda c, _: c.list_jobs(), Reaction.AGAIN),
    (lambda c, _: c.get_job("j"), Reaction.AGAIN),
    (lambda c, _: c.list_chunks("j"), Reaction.AGAIN),
    (lambda c, p: c.add_upserts("j", p), Reaction.COMPARE),
    (lambda c, p: c.add_deletes("j", p), Reaction.COMPARE),
    (lambda c, _: c.execute("j"), Reaction.ASK),
    (lambda c, _: c.cancel_job("j"), Reaction.AGAIN),
    (lambda c, _: c.delete_job("j"), Reaction.AGAIN),
]


@pytest.mark.parametrize(("call", "asks"), CALLS)
@pytest.mark.parametrize("page", [httpx.Response(200, html=PAGE), httpx.Response(200, text=f"\n {PAGE}")])
def test_a_page_with_status_200_is_believed_by_no_operation(
    call: Callable[[DataPushClient, Path], object], asks: Reaction, page: httpx.Response, tmp_path: Path
) -> None:
    (tmp_path / "chunk").write_bytes(b"rows")
    error = failure(Wire(page), lambda c: call(c, tmp_path / "chunk"))
    assert (error.reaction, error.status) == (asks, 0)
    assert "a web page with 200" in str(error)
    assert "celonis.proxy" in error.hint


@pytest.mark.parametrize("scheme", ["AppKey", "Bearer"])
def test_the_key_is_never_shown(scheme: str) -> None:
    auth = KeyAuth(scheme, SECRET)
    wire = Wire(answered(None, 401), httpx.ReadTimeout("late"), answered(job(id=None)))
    with wire.client(auth=auth) as client:
        for _ in range(3):
            with pytest.raises(CelonisError) as caught:
                client.get_job("job-1")
            shown = "".join(traceback.format_exception(caught.value))
            assert SECRET not in shown + repr(caught.value) + repr(client) + repr(auth)


def test_an_answer_without_end_is_cut_off_at_the_deadline() -> None:
    body = EndlessBody(b" " * 10, lambda: None)
    wire = Wire(httpx.Response(200, stream=body))
    with wire.client(timeout=0.05) as client, pytest.raises(CelonisUnreachable, match="not complete in time"):
        client.list_jobs()
    assert body.closed


def test_an_answer_beyond_all_measure_is_cut_off() -> None:
    pieces = []
    body = EndlessBody(bytes(64 << 20), lambda: pieces.append(1))
    wire = Wire(httpx.Response(200, stream=body))
    with wire.client(timeout=60) as client, pytest.raises(CelonisUnreachable, match="too large"):
        client.list_jobs()
    assert len(pieces) == 5
    assert body.closed
