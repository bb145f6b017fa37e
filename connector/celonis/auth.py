"""Owns authentication towards Celonis: application key, bearer token, OAuth client credentials.

Never shows a secret: reprs and errors name the way, not the key. Invariant: all threads share one OAuth token, which
is refreshed ahead of its end, once, and once more when the platform does not accept it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import httpx

from connector.celonis.outcomes import Operation, reaction
from connector.errors import CelonisError, CelonisUnauthorized, CelonisUnreachable, Reaction

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from connector.config import Auth, OAuth

_AHEAD = 60.0  # seconds before its end at which a token is refreshed, or a third of its life where that is shorter
_UNAUTHORIZED = 401
_TIMEOUT = httpx.Timeout(30.0).as_dict()  # a request that an auth flow makes has none of the client's


def auth_of(settings: Auth, team_url: str) -> httpx.Auth:
    """Return the way of authentication that is configured."""
    if settings.app_key:
        return KeyAuth("AppKey", settings.app_key.get_secret_value())
    if settings.bearer:
        return KeyAuth("Bearer", settings.bearer.get_secret_value())
    if settings.oauth is None:
        raise ValueError("Auth holds no credentials")
    return OAuthClientCredentials(settings.oauth, f"{team_url.rstrip('/')}/oauth2/token")


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

    def __init__(self, oauth: OAuth, token_url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._oauth, self._token_url, self._clock = oauth, token_url, clock
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
        request = httpx.Request("POST", self._token_url, data=form, extensions={"timeout": _TIMEOUT})
        return next(httpx.BasicAuth(self._oauth.client_id, secret).auth_flow(request))

    def _take(self, response: httpx.Response) -> None:
        if response.status_code in (400, 403):  # "invalid_client", "invalid_scope": as wrong as a 401
            raise _refused(response)
        found = reaction(Operation.TOKEN, response.status_code)
        if found is Reaction.REAUTHORIZE:
            raise _refused(response)
        try:
            if found is not Reaction.PROCEED:
                raise ValueError("no success")  # noqa: TRY301 - one place says what the answer was
            body = response.json()
            token, life = str(body["access_token"]), float(body.get("expires_in") or 0)
        except (ValueError, KeyError, TypeError):
            raise CelonisUnreachable(
                f"{Operation.TOKEN}: {response.status_code}, not a token",
                reaction=Reaction.AGAIN if found is Reaction.PROCEED else found,
                operation=Operation.TOKEN,
                status=response.status_code,
            ) from None
        self._token = token
        self._fresh_until = self._clock() + life - min(_AHEAD, life / 3)


def _refused(response: httpx.Response) -> CelonisError:
    return CelonisUnauthorized(
        f"{Operation.TOKEN}: {response.status_code}, the OAuth client is not accepted",
        reaction=Reaction.REAUTHORIZE,
        operation=Operation.TOKEN,
        status=response.status_code,
        hint="check celonis.auth.oauth: client_id, client_secret and scope",
    )
