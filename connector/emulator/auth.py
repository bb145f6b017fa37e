"""Owns who may do what: application keys, user keys, OAuth tokens; never logs or shows one.

Invariant: only the Authorization header counts, a key is good under its own scheme alone, and a token ends by itself.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from connector.emulator.answers import ApiError, invalid, refused
from connector.emulator.settings import DATA_PUSH_SCOPE, is_uuid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connector.emulator.settings import EmulatorSettings, OAuthClient


class _Token(NamedTuple):
    client: str
    scopes: frozenset[str]
    until: float


class Authorizer:
    """Answers for the keys of the settings, and for the tokens it has issued since its start."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self._settings = settings
        self._tokens: dict[str, _Token] = {}
        self._lock = threading.Lock()

    def pools(self, authorization: str | None) -> frozenset[str]:
        """Return the pools on which the caller has the Data Push permission.

        Raises:
            ApiError: 401 for a credential that is not known, 403 for a token without the scope.
        """
        scheme, _, credential = (authorization or "").partition(" ")
        keys = {"appkey": self._settings.app_keys, "bearer": self._settings.bearer_keys}.get(scheme.lower(), {})
        if credential in keys:
            return frozenset(keys[credential])
        token = self._live_token(credential) if scheme.lower() == "bearer" else None
        if token is None:
            raise refused(401, "The credentials are not valid")
        if DATA_PUSH_SCOPE not in token.scopes:
            raise refused(403, f"The token lacks the scope {DATA_PUSH_SCOPE}")
        return frozenset(self._settings.oauth_clients[token.client].pools)

    def pool(self, authorization: str | None, pool: str) -> str:
        """Return the id of `pool` as it is written in the settings, for a caller with the permission on it.

        Raises:
            ApiError: 401, 400 for what is no UUID, 404 for an unknown pool, 403 without the permission.
        """
        permitted = self.pools(authorization)
        if not is_uuid(pool):
            raise invalid("poolId", "The pool id is not a UUID", "invalid-uuid")
        known = next((p for p in self._settings.pools if p.lower() == pool.lower()), None)
        if known is None:
            raise refused(404, "The data pool does not exist")
        if known not in permitted:
            raise refused(403, "The Data Push API permission is missing on the data pool")
        return known

    def issue(self, authorization: str | None, form: Mapping[str, str]) -> dict[str, Any]:
        """Return a fresh token's answer (RFC 6749, client credentials); `form` is the request's body.

        Raises:
            ApiError: 401 for a client that is not known, 400 for another grant type or a scope it does not have.
        """
        name, client = self._client(authorization, form)
        if form.get("grant_type") != "client_credentials":
            raise ApiError(400, {"error": "unsupported_grant_type"})
        scopes = frozenset(form.get("scope", "").split())
        if not scopes <= set(client.scopes):
            raise ApiError(400, {"error": "invalid_scope"})
        token, now = secrets.token_urlsafe(32), self._settings.clock()
        with self._lock:
            self._tokens = {t: known for t, known in self._tokens.items() if known.until > now}
            self._tokens[token] = _Token(name, scopes, now + self._settings.token_seconds)
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int(self._settings.token_seconds),
            "scope": " ".join(sorted(scopes)),
        }

    def _client(self, authorization: str | None, form: Mapping[str, str]) -> tuple[str, OAuthClient]:
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        scheme, _, encoded = (authorization or "").partition(" ")
        if scheme.lower() == "basic":
            name, secret = _basic(encoded)
        client = self._settings.oauth_clients.get(name)
        if client is None or not secrets.compare_digest(client.secret.encode(), secret.encode()):
            raise ApiError(401, {"error": "invalid_client"}, {"www-authenticate": "Basic"})
        return name, client

    def _live_token(self, credential: str) -> _Token | None:
        with self._lock:
            token = self._tokens.get(credential)
        return token if token and token.until > self._settings.clock() else None


def _basic(encoded: str) -> tuple[str, str]:
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, secret
