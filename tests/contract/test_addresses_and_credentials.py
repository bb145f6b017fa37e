"""Addresses, paths and credentials (data-push-api.md, "Addresses and authentication")."""

from __future__ import annotations

import base64
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from connector.emulator import Emulator, EmulatorSettings, OAuthClient
from connector.emulator.settings import DATA_PUSH_SCOPE
from tests.contract.api import KEY, OTHER_POOL, POOL, Api, parquet
from tests.contract.conftest import POOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.contract.conftest import Start

SECRET = "client-secret"
TOKEN_FORM = {"grant_type": "client_credentials", "scope": DATA_PUSH_SCOPE}


class Clock:
    """A clock to be set."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    settings = EmulatorSettings(
        tmp_path_factory.mktemp("team"),
        pools=POOLS,
        app_keys={"app": [POOL], "other": [OTHER_POOL], "nothing": []},
        bearer_keys={"user": [POOL]},
        oauth_clients={
            "client": OAuthClient(SECRET, [POOL], (DATA_PUSH_SCOPE, "other")),
            "stranger": OAuthClient(SECRET, [OTHER_POOL]),
        },
        clock=CLOCK,
    )
    with Emulator(settings) as running:
        api = Api(running, authorization="")
        with api.http:
            yield api


@pytest.mark.parametrize("prefix", ["/data-ingestion", "/integration"])
@pytest.mark.parametrize("path", ["/jobs", "/jobs/", "//jobs", "/jobs//"])
def test_both_prefixes_and_any_number_of_slashes_lead_to_the_same_jobs(
    api: Api, table: str, prefix: str, path: str
) -> None:
    job = api.new(table)
    answer = api.http.get(f"{prefix}//api/v1/data-push/{POOL}{path}")
    assert answer.status_code == 200
    assert job in [listed["id"] for listed in answer.json()]


def test_pool_and_job_ids_are_found_in_any_case(api: Api, table: str) -> None:
    job = api.new(table)
    assert api.http.get(f"/integration/api/v1/data-push/{POOL.upper()}/jobs/{job.upper()}").json()["id"] == job


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("AppKey app", 200),
        ("appkey app", 200),
        ("Bearer user", 200),
        ("Bearer app", 401),
        ("AppKey user", 401),
        ("AppKey nobody", 401),
        ("Basic app", 401),
        ("app", 401),
        ("", 401),
        ("AppKey other", 403),
        ("AppKey nothing", 403),
    ],
)
def test_a_key_is_good_under_its_own_scheme_and_on_its_own_pools(team: Api, authorization: str, status: int) -> None:
    with closing(Api(team.emulator, authorization=authorization).http) as http:
        answer = http.get(f"/data-ingestion/api/v1/data-push/{POOL}/jobs/")
    assert answer.status_code == status
    if status != 200:
        assert set(answer.json()) == {"reference", "message", "shortMessage"}


def test_credentials_in_the_url_or_the_body_are_ignored(api: Api, table: str) -> None:
    with closing(Api(api.emulator, authorization="").http) as http:
        url = f"/data-ingestion/api/v1/data-push/{POOL}/jobs/"
        assert http.get(url, params={"Authorization": f"AppKey {KEY}", "appKey": KEY}).status_code == 401
        body = {"targetName": table, "type": "DELTA", "Authorization": f"AppKey {KEY}"}
        assert http.post(url, json=body).status_code == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("00000000-2222-3333-4444-555555555555/jobs/", 404),
        (f"{POOL}/jobs/00000000-2222-3333-4444-555555555555", 404),
        (f"{POOL}/jobs/no-uuid", 404),
        ("no-uuid/jobs/", 400),
        ("no-pool", 404),
    ],
)
def test_what_does_not_exist_is_not_found(api: Api, path: str, status: int) -> None:
    assert api.http.get(f"/data-ingestion/api/v1/data-push/{path}").status_code == status


def test_a_job_of_another_pool_is_not_found(api: Api, table: str) -> None:
    job = api.new(table)
    answer = api.http.get(f"/data-ingestion/api/v1/data-push/{OTHER_POOL}/jobs/{job}")
    assert answer.status_code == 404


class TestOAuth:
    """Client credentials."""

    @staticmethod
    def ask(team: Api, name: str = "client", secret: str = SECRET, **form: str) -> httpx.Response:
        basic = base64.b64encode(f"{name}:{secret}".encode()).decode()
        headers = {"authorization": f"Basic {basic}"}
        return team.http.post("/oauth2/token", data=TOKEN_FORM | form, headers=headers)

    def status(self, team: Api, answer: httpx.Response) -> int:
        headers = {"authorization": f"Bearer {answer.json()['access_token']}"}
        return team.request("GET", "/jobs/", headers=headers).status_code

    def test_a_token_from_basic_credentials_opens_the_pool(self, team: Api) -> None:
        answer = self.ask(team)
        assert answer.json()["expires_in"] == 900
        assert answer.headers["cache-control"] == "no-store"
        assert self.status(team, answer) == 200

    def test_a_token_from_credentials_in_the_form_opens_the_pool(self, team: Api) -> None:
        form = TOKEN_FORM | {"client_id": "client", "client_secret": SECRET}
        answer = team.http.post("/oauth2/token", data=form, headers={"authorization": ""})
        assert self.status(team, answer) == 200

    def test_a_token_ends_after_its_time(self, team: Api) -> None:
        answer = self.ask(team)
        CLOCK.now += 899
        assert self.status(team, answer) == 200
        CLOCK.now += 1
        assert self.status(team, answer) == 401

    def test_a_token_lives_in_true_seconds_however_fast_the_clock(self, start: Start) -> None:
        clock = Clock()
        clients = {"client": OAuthClient(SECRET, [POOL])}
        api = start(clock=clock, clock_speed=60, oauth_clients=clients)
        answer = self.ask(api)
        clock.now += 899
        assert self.status(api, answer) == 200
        clock.now += 1
        assert self.status(api, answer) == 401

    def test_a_token_is_no_application_key(self, team: Api) -> None:
        headers = {"authorization": f"AppKey {self.ask(team).json()['access_token']}"}
        assert team.request("GET", "/jobs/", headers=headers).status_code == 401

    @pytest.mark.parametrize("scope", ["other", ""])
    def test_a_token_with_another_scope_is_forbidden(self, team: Api, scope: str) -> None:
        assert self.status(team, self.ask(team, scope=scope)) == 403

    def test_a_client_without_permission_on_the_pool_is_forbidden(self, team: Api) -> None:
        assert self.status(team, self.ask(team, "stranger")) == 403

    @pytest.mark.parametrize(
        ("credentials", "form", "status", "error"),
        [
            (("client", "wrong"), {}, 401, "invalid_client"),
            (("nobody", SECRET), {}, 401, "invalid_client"),
            (("client", SECRET), {"grant_type": "password"}, 400, "unsupported_grant_type"),
            (("client", SECRET), {"scope": "everything"}, 400, "invalid_scope"),
        ],
    )
    def test_no_token(
        self, team: Api, credentials: tuple[str, str], form: dict[str, str], status: int, error: str
    ) -> None:
        answer = self.ask(team, *credentials, **form)
        assert (answer.status_code, answer.json()) == (status, {"error": error})

    def test_no_token_for_damaged_credentials(self, team: Api) -> None:
        for authorization in ("Basic !", "Basic /w==", ""):
            answer = team.http.post("/oauth2/token", data=TOKEN_FORM, headers={"authorization": authorization})
            assert answer.status_code == 401


def test_https_is_verified_against_the_emulators_own_authority(start: Start, table: str) -> None:
    api = start(tls=True)
    assert api.emulator.url.startswith("https://127.0.0.1:")
    api.done(table, parquet(a=[1]))
    port = api.emulator.url.rpartition(":")[2]
    assert api.http.get(f"https://localhost:{port}/api/cloud").status_code == 200
