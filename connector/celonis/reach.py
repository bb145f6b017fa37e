"""Owns whether the address of the team answers at all, which costs nothing and says nothing of keys.

Never logs in. Invariant: any answer counts but a fault of the platform's own (5xx).
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx

from connector.errors import ConnectorError

if TYPE_CHECKING:
    from connector.config import Celonis

_ANSWER_SECONDS = 5.0
_FAULT = 500


class Address:
    """The address in `settings`, asked over their proxy and with their certificates."""

    def __init__(self, settings: Celonis) -> None:
        self._settings = settings
        self._client: httpx.Client | None = None

    def reach(self) -> None:
        """Return once something has answered; raises ConnectorError."""
        url = self._settings.team_url
        try:
            self._client = self._client or self._made()
            with self._client.stream("GET", url) as answer:
                status = answer.status_code
        except (httpx.HTTPError, OSError) as e:
            raise ConnectorError(f"no answer from {url}: {e or type(e).__name__}") from None
        if status >= _FAULT:
            raise ConnectorError(f"{url} answers {status}")

    def _made(self) -> httpx.Client:
        """Make the client with the first question, in its thread: to read the certificates takes a moment."""
        ca_file, proxy, auth = self._settings.ca_file, self._settings.proxy, self._settings.proxy_auth
        credentials = (auth.username, auth.password.get_secret_value()) if auth else None
        return httpx.Client(
            verify=ssl.create_default_context(cafile=str(ca_file)) if ca_file else True,
            proxy=httpx.Proxy(proxy, auth=credentials) if proxy else None,
            timeout=_ANSWER_SECONDS,
        )
