"""Owns authentication towards Celonis: application key, bearer token, OAuth client credentials.

Never shows a secret: reprs and errors name the way, not the key. Invariant: all threads share one OAuth token, which
is refreshed ahead of its end, once, and once more when the platform does not accept it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import httpx
import orjson

from connector.celonis.calls import UNCOUNTED
from connector.celonis.failures import Answer, failure_of_answer
from connector.celonis.outcomes import Operation, reaction
from connector.errors import CelonisError, CelonisUnauthorized, Reaction

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from connector.celonis.calls import Calls
    from connector.config import Auth, OAuth

_AHEAD = 60.0  # seconds before its end at which a token is refreshed, or a third of its life where that is shorter
_UNSAID = 300.0  # seconds that a token is used whose life is not told
_UNAUTHORIZED = 401
_REFUSALS = (400, 401, 403)  # "invalid_client", "invalid_scope": servers differ in the status
TOKEN_SECONDS = 30.0  # a request that an auth flow makes has none of the client's timeouts


def auth_of(settings: Auth, team_url: str, calls: Calls = UNCOUNTED) -> httpx.Auth:
    """Return the way of authentication that is configured."""
    if settings.app_key:
        return KeyAuth("AppKey", settings.app_key.get_secret_value())
    if settings.bearer:
        return KeyAuth("Bearer", settings.bearer.get_secret_value())
    if settings.oauth is None:
        raise ValueError("Auth holds no credentials")
    return OAuthClientCredentials(settings.oauth, f"{team_url.rstrip('/')}/oauth2/token", calls=calls)


class KeyAuth(httpx.Auth):
    """A static key: `AppKey` for an application key, `Bearer` for a user API key."""

    def __init__(self, scheme: str, key: str) -> None:
        self._scheme, self._key = scheme, key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header."""
        request.headers["Authorization"] = f"{self._scheme} {self._key}"
        yield request


class OAuthClientCredentials(httpx.Auth):
    """OAuth 2.0 client credentials (RFC 6749, 4.4); `clock` gives monotonic seconds."""

    def __init__(
        self, oauth: OAuth, token_url: str, clock: Callable[[], float] = time.monotonic, calls: Calls = UNCOUNTED
    ) -> None:
        self._oauth, self._token_url, self._clock, self._calls = oauth, token_url, clock, calls
        self._lock = threading.Lock()
        self._token = ""
        self._fresh_until = 0.0

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header, with a token that is fresh; try a 401 once more with another token."""
        token = yield from self._fresh_token(known_bad="")
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == _UNAUTHORIZED:
            token = yield from self._fresh_token(known_bad=token)
            request.headers["Authorization"] = f"Bearer {token}"
            yield request

    def _fresh_token(self, known_bad: str) -> Generator[httpx.Request, httpx.Response, str]:
        with self._lock:  # the others wait for this one answer
            if self._clock() >= self._fresh_until or self._token == known_bad:
                response = yield self._token_request()
                response.read()
                self._take(response)
            return self._token

    def _token_request(self) -> httpx.Request:
        secret = self._oauth.client_secret.get_secret_value()
        form = {"grant_type": "client_credentials", "scope": self._oauth.scope}
        timeout = httpx.Timeout(TOKEN_SECONDS).as_dict()
        request = httpx.Request("POST", self._token_url, data=form, extensions={"timeout": timeout})
        return next(httpx.BasicAuth(self._oauth.client_id, secret).auth_flow(request))

    def _take(self, response: httpx.Response) -> None:
        answer = Answer(response.status_code, response.headers, response.content)
        if answer.status in _REFUSALS:
            raise _refused(answer.status)
        if reaction(Operation.TOKEN, answer.status) is not Reaction.PROCEED:
            raise failure_of_answer(Operation.TOKEN, answer, "")
        try:
            body = orjson.loads(answer.body)
            token, life = _bearer(body["access_token"]), float(body.get("expires_in") or _UNSAID)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise failure_of_answer(Operation.TOKEN, answer._replace(status=0), "", "not a token") from None
        self._calls.refreshed()
        self._token = token
        self._fresh_until = self._clock() + life - min(_AHEAD, life / 3)


def _bearer(token: object) -> str:
    """Return a token as it may stand in a header."""
    if not (isinstance(token, str) and token.isascii() and token.isprintable() and token):
        raise ValueError("not a token")
    return token


def _refused(status: int) -> CelonisError:
    return CelonisUnauthorized(
        f"{Operation.TOKEN}: {status}, the OAuth client is not accepted",
        reaction=Reaction.REAUTHORIZE,
        operation=Operation.TOKEN,
        status=status,
        hint="check celonis.auth.oauth: client_id, client_secret and scope",
    )
