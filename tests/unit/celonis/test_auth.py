"""OAuth client credentials: one token for all threads, fresh ahead of its end, and one more after a 401."""

from __future__ import annotations

import base64
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from connector.celonis.auth import KeyAuth, OAuthClientCredentials, auth_of
from connector.celonis.client import DataPushClient
from connector.celonis.outcomes import Operation
from connector.config import Auth, OAuth
from connector.errors import (
    CelonisError,
    CelonisRefused,
    CelonisThrottled,
    CelonisUnauthorized,
    CelonisUnreachable,
    Reaction,
)
from tests.unit.celonis.wire import POOL, SECRET, TEAM, Counted, EndlessBody

OAUTH = OAuth.model_validate({"client_id": "client-1", "client_secret": SECRET})


class Platform:
    """Issues numbered tokens and accepts `valid` ones; a token request waits for `may_answer`."""

    def __init__(self, *token_answers: httpx.Response | Exception, expires_in: Any = 900) -> None:
        self.now = 0.0
        self.token_requests: list[httpx.Request] = []
        self.used: list[str] = []
        self.revoked: set[str] = set()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._token_answers = list(token_answers)
        self._expires_in = expires_in
        self.calls = Counted()
        self.auth = OAuthClientCredentials(OAUTH, f"{TEAM}/oauth2/token", clock=lambda: self.now, calls=self.calls)
        self.client = DataPushClient(TEAM, POOL, self.auth, transport=httpx.MockTransport(self._answer), timeout=5)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path != "/oauth2/token":
            token = request.headers["authorization"].removeprefix("Bearer ")
            self.used.append(token)
            return httpx.Response(401) if token in self.revoked else httpx.Response(200, json=[])
        self.token_requests.append(request)
        assert self.may_answer.wait(10)
        if self._token_answers:
            answer = self._token_answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        body = {"access_token": f"token-{len(self.token_requests)}", "expires_in": self._expires_in}
        return httpx.Response(200, json=body)


def failure(platform: Platform) -> CelonisError:
    with pytest.raises(CelonisError) as caught:
        platform.client.list_jobs()
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return caught.value


def test_the_token_request_is_what_the_contract_says() -> None:
    platform = Platform()
    platform.client.list_jobs()
    request = platform.token_requests[0]
    basic = base64.b64encode(f"client-1:{SECRET}".encode()).decode()
    assert (request.method, str(request.url)) == ("POST", f"{TEAM}/oauth2/token")
    assert request.headers["authorization"] == f"Basic {basic}"
    assert parse_qs(request.content.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["integration.data-pools:data_push"],
    }
    assert platform.used == ["token-1"]


def test_the_token_request_has_a_timeout() -> None:
    platform = Platform()
    platform.client.list_jobs()
    assert platform.token_requests[0].extensions["timeout"] == dict.fromkeys(("connect", "read", "write", "pool"), 30.0)


def test_many_threads_fetch_one_token() -> None:
    platform = Platform()
    platform.may_answer.clear()
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(platform.client.list_jobs) for _ in range(32)]
        platform.may_answer.set()
        for call in calls:
            assert call.result(10) == []
    assert len(platform.token_requests) == platform.calls.tokens == 1
    assert set(platform.used) == {"token-1"}


def test_many_threads_whose_token_was_revoked_fetch_one_more() -> None:
    platform = Platform()
    platform.client.list_jobs()
    platform.revoked.add("token-1")
    with ThreadPoolExecutor(8) as threads:
        for call in [threads.submit(platform.client.list_jobs) for _ in range(32)]:
            assert call.result(10) == []
    assert len(platform.token_requests) == 2


@pytest.mark.parametrize(
    ("expires_in", "kept", "renewed"), [(900, 839.9, 840.0), (60, 39.9, 40.0), ("900", 839.9, 840)]
)
def test_a_token_is_renewed_ahead_of_its_end(expires_in: Any, kept: float, renewed: float) -> None:
    platform = Platform(expires_in=expires_in)
    platform.client.list_jobs()
    platform.now = kept
    platform.client.list_jobs()
    platform.now = renewed
    platform.client.list_jobs()
    assert platform.used == ["token-1", "token-1", "token-2"]


@pytest.mark.parametrize("expires_in", [None, 0])
def test_a_token_whose_life_is_not_told_is_not_fetched_for_every_request(expires_in: Any) -> None:
    platform = Platform(expires_in=expires_in)
    platform.client.list_jobs()
    platform.client.list_jobs()
    assert len(platform.token_requests) == 1


def test_a_401_is_tried_with_another_token_once_and_then_it_is_the_end() -> None:
    platform = Platform()
    platform.revoked |= {"token-1", "token-2"}
    error = failure(platform)
    assert type(error) is CelonisUnauthorized
    assert error.reaction is Reaction.REAUTHORIZE
    assert error.operation == Operation.LIST
    assert platform.used == ["token-1", "token-2"]


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_client_that_is_not_accepted_names_its_settings(status: int) -> None:
    error = failure(Platform(httpx.Response(status, json={"error": "invalid_client"})))
    assert type(error) is CelonisUnauthorized
    assert error.reaction is Reaction.REAUTHORIZE
    assert str(error) == (
        f"token: {status}, the OAuth client is not accepted "
        "(check celonis.auth.oauth: client_id, client_secret and scope)"
    )


def test_a_token_endpoint_that_is_not_there_is_a_wrong_address() -> None:
    error = failure(Platform(httpx.Response(404)))
    assert type(error) is CelonisRefused
    assert error.operation == Operation.TOKEN
    assert "celonis.team_url" in error.hint


@pytest.mark.parametrize("status", [429, 503])
def test_a_token_endpoint_that_is_busy_is_asked_later_and_its_hint_counts(status: int) -> None:
    platform = Platform(httpx.Response(status, headers={"retry-after": "9"}))
    error = failure(platform)
    assert isinstance(error, CelonisThrottled)
    assert (error.reaction, error.wait) == (Reaction.LATER, 9.0)
    assert platform.client.list_jobs() == []


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html="<html>Sign in</html>"),
        httpx.Response(200),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={}),
        httpx.Response(200, json={"access_token": None, "expires_in": 900}),
        httpx.Response(200, json={"access_token": "", "expires_in": 900}),
        httpx.Response(200, json={"access_token": "a\nb", "expires_in": 900}),
        httpx.Response(200, json={"access_token": "t", "expires_in": "soon"}),
        httpx.Response(500),
        httpx.Response(302, headers={"location": "https://elsewhere"}),
    ],
)
def test_an_answer_that_is_no_token_is_asked_for_again(answer: httpx.Response) -> None:
    platform = Platform(answer)
    error = failure(platform)
    assert type(error) is CelonisUnreachable
    assert error.reaction is Reaction.AGAIN
    assert platform.used == [], "nothing was sent without a token"
    assert platform.client.list_jobs() == []


def test_a_token_request_without_an_answer_frees_the_others() -> None:
    platform = Platform(httpx.ReadTimeout("late"))
    assert failure(platform).reaction is Reaction.AGAIN
    with ThreadPoolExecutor(1) as other:
        assert other.submit(platform.client.list_jobs).result(10) == []


def test_a_token_without_end_is_cut_off() -> None:
    body = EndlessBody(bytes(64 << 20), lambda: None)
    error = failure(Platform(httpx.Response(200, stream=body)))
    assert "too large" in str(error)
    assert body.closed


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"app_key": SECRET}, KeyAuth),
        ({"bearer": SECRET}, KeyAuth),
        ({"oauth": {"client_id": "c", "client_secret": SECRET}}, OAuthClientCredentials),
    ],
)
def test_the_configuration_names_the_way_and_shows_no_secret(settings: dict[str, Any], kind: type[httpx.Auth]) -> None:
    auth = Auth.model_validate(settings)
    found = auth_of(auth, TEAM)
    assert type(found) is kind
    assert SECRET not in repr(found) + repr(auth) + str(auth)
