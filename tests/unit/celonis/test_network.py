"""What lies between us and the platform: proxies, certificates, silence; over real sockets on loopback."""

from __future__ import annotations

import base64
import ssl
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from connector.celonis.auth import KeyAuth
from connector.celonis.client import DataPushClient
from connector.config import Celonis
from connector.emulator.certificate import certificates
from connector.errors import CelonisError, CelonisUnreachable, ConfigError, Reaction
from tests.unit.celonis.loopback import Loopback, Seen, Silent
from tests.unit.celonis.wire import POOL, SECRET

if TYPE_CHECKING:
    from pathlib import Path


def no_jobs(_: Seen) -> tuple[int, bytes]:
    return 200, b"[]"


def client_of(**settings: Any) -> DataPushClient:
    return DataPushClient.of(Celonis.model_validate({"pool_id": POOL, "auth": {"app_key": SECRET}} | settings))


@pytest.fixture(autouse=True)
def _no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_requests_go_through_the_proxy_with_its_own_credentials() -> None:
    with Loopback(no_jobs) as proxy:
        login = {"username": "u", "password": "p"}
        with client_of(team_url="http://team.invalid", proxy=proxy.url, proxy_auth=login) as client:
            assert client.list_jobs() == []
    (seen,) = proxy.seen
    assert seen.target.startswith("http://team.invalid/data-ingestion/")
    assert seen.headers["Proxy-Authorization"] == f"Basic {base64.b64encode(b'u:p').decode()}"
    assert seen.headers["Authorization"] == f"AppKey {SECRET}"


def test_a_proxy_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(no_jobs) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with client_of(team_url="http://team.invalid") as client:
            assert client.list_jobs() == []
    assert len(proxy.seen) == 1


def test_a_proxy_that_refuses_the_tunnel_names_its_settings_and_nothing_was_sent() -> None:
    with (
        Loopback(lambda _: (407, b"")) as proxy,
        client_of(team_url="https://team.invalid", proxy=proxy.url) as client,
        pytest.raises(CelonisUnreachable) as caught,
    ):
        client.execute("job-1")
    assert [seen.method for seen in proxy.seen] == ["CONNECT"]
    assert caught.value.reaction is Reaction.LATER
    assert caught.value.hint == "check celonis.proxy and celonis.proxy_auth"


def test_a_certificate_of_ones_own_is_trusted_by_configuration_and_otherwise_named(tmp_path: Path) -> None:
    made = certificates(tmp_path, "127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(made.server, made.key)
    with Loopback(no_jobs, tls) as server:
        with client_of(team_url=server.url, ca_file=str(made.ca)) as client:
            assert client.list_jobs() == []
        with client_of(team_url=server.url) as client, pytest.raises(CelonisUnreachable) as caught:
            client.execute("job-1")
    assert caught.value.reaction is Reaction.LATER
    assert "celonis.ca_file" in caught.value.hint


@pytest.mark.parametrize("content", [None, b"", b"not PEM", b"\x00\xff"])
def test_certificates_that_cannot_be_used_are_a_problem_of_the_configuration(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"celonis\.ca_file: .*ca\.pem cannot be used"):
        client_of(team_url="https://team.invalid", ca_file=str(path))


def test_a_server_that_never_answers_is_given_up() -> None:
    with (
        Silent() as url,
        DataPushClient(url, POOL, KeyAuth("AppKey", SECRET), timeout=0.1) as client,
        pytest.raises(CelonisUnreachable, match="ReadTimeout") as caught,
    ):
        client.execute("job-1")
    assert caught.value.reaction is Reaction.ASK


def test_a_server_that_refuses_connections_is_asked_later(closed_port: int) -> None:
    refused = pytest.raises(CelonisUnreachable, match="ConnectError")
    with client_of(team_url=f"http://127.0.0.1:{closed_port}") as client, refused as caught:
        client.execute("job-1")
    assert caught.value.reaction is Reaction.LATER


@pytest.mark.parametrize("key", [f"{SECRET}\nx", f"{SECRET} "])
def test_a_key_that_no_header_can_hold_is_not_shown_and_its_setting_is_named(key: str) -> None:
    with (
        Loopback(no_jobs) as server,
        DataPushClient(server.url, POOL, KeyAuth("AppKey", key)) as client,
        pytest.raises(CelonisError) as caught,
    ):
        client.list_jobs()
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.hint == "check that celonis.auth has no spaces or line ends"
