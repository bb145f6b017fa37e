"""The client as a library against the emulator over real HTTP: each operation, way to authenticate and prefix."""

from __future__ import annotations

import io
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connector.celonis.client import DataPushClient
from connector.celonis.jobs import ColumnParsing, CsvParsing, JobSpec
from connector.celonis.schemas import schemas_of
from connector.config import Celonis
from connector.core.columns import Column, ColumnType, TableSchema
from connector.core.jobs import Status
from connector.emulator import Emulator, EmulatorSettings, OAuthClient
from connector.errors import CelonisError, CelonisRefused, CelonisThrottled, CelonisUnauthorized, CelonisUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POOL, KEY = "11111111-2222-3333-4444-555555555555", "application-key"
WAIT = 60.0
SCHEMA = TableSchema((Column("id", ColumnType.INTEGER), Column("name", ColumnType.STRING, 20)))


class Start(Protocol):
    """Starts an emulator with settings of its own; it ends with the test."""

    def __call__(self, *faults: str, **settings: Any) -> Emulator: ...


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ExitStack() as parts:

        def started(*faults: str, **settings: Any) -> Emulator:
            defaults: dict[str, Any] = {
                "app_keys": {KEY: [POOL]},
                "bearer_keys": {"user-key": [POOL]},
                "per_second": 1000,
            }
            made = EmulatorSettings(tmp_path / "emulator", faults=faults, **(defaults | settings))
            return parts.enter_context(Emulator(made))

        yield started


def client_of(emulator: Emulator, **settings: Any) -> DataPushClient:
    """Return a client as the configuration makes it."""
    base = {"team_url": emulator.url, "pool_id": POOL, "auth": {"app_key": KEY}}
    return DataPushClient.of(Celonis.model_validate(base | settings))


def chunk(path: Path, *rows: tuple[Any, ...], names: tuple[str, ...] = ("id", "name")) -> Path:
    """Write rows to a Parquet file at `path`."""
    pq.write_table(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), path)
    return path


def spec(*, keys: tuple[str, ...] = ("id",), **fields: Any) -> JobSpec:
    return JobSpec("T", keys=keys, table_schema=SCHEMA.to_wire("T", keys), **fields)


def run(emulator: Emulator, client: DataPushClient, job_id: str, column: str | None = None) -> Status:
    client.execute(job_id, column)
    assert emulator.wait_idle(WAIT)
    return client.get_job(job_id).status


def rows(emulator: Emulator) -> list[tuple[Any, ...]]:
    return emulator.query("SELECT id, name FROM T ORDER BY ALL")


@pytest.mark.parametrize("prefix", ["/data-ingestion", "/integration"])
def test_a_job_lives_from_its_creation_to_its_deletion(prefix: str, start: Start, tmp_path: Path) -> None:
    emulator = start()
    with client_of(emulator, api_prefix=prefix) as client:
        job = client.create_job(spec())
        assert (job.status, job.table, job.logs) == (Status.NEW, "T", ())
        client.add_upserts(job.id, chunk(tmp_path / "1", (1, "a"), (2, "b")))
        client.add_upserts(job.id, chunk(tmp_path / "2", (3, "c")))
        assert [c.type for c in client.list_chunks(job.id)] == ["UPSERT", "UPSERT"]
        assert run(emulator, client, job.id) is Status.DONE
        assert rows(emulator) == [(1, "a"), (2, "b"), (3, "c")]
        assert [j.id for j in client.list_jobs()] == [job.id]
        client.delete_job(job.id)
        assert client.list_jobs() == []
        with pytest.raises(CelonisRefused) as caught:
            client.get_job(job.id)
        assert (caught.value.status, caught.value.job_id) == (404, job.id)


def test_rows_are_deleted_by_their_key(start: Start, tmp_path: Path) -> None:
    emulator = start()
    with client_of(emulator) as client:
        job = client.create_job(spec())
        client.add_upserts(job.id, chunk(tmp_path / "1", (1, "a"), (2, "b")))
        assert run(emulator, client, job.id) is Status.DONE
        job = client.create_job(spec())
        client.add_deletes(job.id, chunk(tmp_path / "2", (1,), names=("id",)))
        assert [c.type for c in client.list_chunks(job.id)] == ["DELETE"]
        assert run(emulator, client, job.id) is Status.DONE
        assert rows(emulator) == [(2, "b")]


def test_a_replace_takes_the_tables_place_and_the_highest_of_a_column_wins(start: Start, tmp_path: Path) -> None:
    emulator = start()
    with client_of(emulator) as client:
        job = client.create_job(spec())
        client.add_upserts(job.id, chunk(tmp_path / "1", (1, "a"), (1, "c"), (1, "b")))
        assert run(emulator, client, job.id, "name") is Status.DONE
        assert rows(emulator) == [(1, "c")]
        job = client.create_job(spec(type="REPLACE", keys=()))
        client.add_upserts(job.id, chunk(tmp_path / "2", (9, "z")))
        assert run(emulator, client, job.id) is Status.DONE
        assert rows(emulator) == [(9, "z")]


def test_csv_goes_up_with_its_options(start: Start, tmp_path: Path) -> None:
    emulator = start()
    path = tmp_path / "1.csv"
    path.write_text("id;day\r\n1;31.12.2025\r\n2;01.01.2026\r\n")
    csv = CsvParsing(separator_sequence=";", columns=(ColumnParsing("day", date_format="dd.MM.yyyy"),))
    schema = TableSchema((Column("id", ColumnType.INTEGER), Column("day", ColumnType.DATE))).to_wire("T", ())
    with client_of(emulator) as client:
        job = client.create_job(JobSpec("T", table_schema=schema, file_type="CSV", csv=csv))
        client.add_upserts(job.id, path, "CSV")
        assert run(emulator, client, job.id) is Status.DONE, client.get_job(job.id).logs
    assert emulator.query("SELECT id, CAST(day AS VARCHAR)[:10] FROM T ORDER BY id") == [
        (1, "2025-12-31"),
        (2, "2026-01-01"),
    ]


def test_a_cancelled_job_cannot_be_executed_and_says_why(start: Start) -> None:
    with client_of(start()) as client:
        job = client.create_job(spec())
        client.cancel_job(job.id)
        assert client.get_job(job.id).status is Status.CANCELED
        with pytest.raises(CelonisRefused, match="A job in CANCELED cannot be executed"):
            client.execute(job.id)


def test_a_file_that_is_no_parquet_is_refused_with_what_the_platform_says(start: Start, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"not parquet")
    with client_of(start()) as client:
        job = client.create_job(spec())
        with pytest.raises(CelonisRefused, match="not a readable Parquet file"):
            client.add_upserts(job.id, tmp_path / "bad")


def test_a_large_chunk_goes_through(start: Start, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pq.write_table(
        pa.table({"id": pa.array(range(3_000_000), pa.int64())}), buffer, compression="none", use_dictionary=False
    )
    (tmp_path / "large").write_bytes(buffer.getvalue())
    emulator = start()
    with client_of(emulator) as client:
        schema = TableSchema((Column("id", ColumnType.INTEGER),)).to_wire("T", ())
        job = client.create_job(JobSpec("T", table_schema=schema))
        client.add_upserts(job.id, tmp_path / "large")
        assert run(emulator, client, job.id) is Status.DONE
    assert emulator.query("SELECT count(*), max(id) FROM T") == [(3_000_000, 2_999_999)]


def test_an_upload_that_is_cut_leaves_the_effect_in_doubt(start: Start, tmp_path: Path) -> None:
    with client_of(start("upload:1:cut-before", "upload:2:cut-after")) as client:
        job = client.create_job(spec())
        path = chunk(tmp_path / "1", (1, "a"))
        for held in (0, 1):
            with pytest.raises(CelonisUnreachable):
                client.add_upserts(job.id, path)
            assert len(client.list_chunks(job.id)) == held


def test_a_slow_answer_is_waited_for_and_a_too_slow_one_is_not(start: Start) -> None:
    emulator = start("get:1:slow=0.2", "get:2:slow=60")
    with client_of(emulator) as patient, client_of(emulator, request_timeout=0.1) as hasty:
        job = patient.create_job(spec())
        assert patient.get_job(job.id) == job
        with pytest.raises(CelonisUnreachable, match="ReadTimeout"):
            hasty.get_job(job.id)


@pytest.mark.parametrize("hints", ["ratelimit", "retry-after"])
def test_a_spent_hour_tells_how_long_to_wait(hints: str, start: Start) -> None:
    with client_of(start(per_hour=0, hints=hints)) as client, pytest.raises(CelonisThrottled) as caught:
        client.execute("any")
    assert caught.value.wait is not None
    assert 0 < caught.value.wait <= 3600


@pytest.mark.parametrize("auth", [{"app_key": KEY}, {"bearer": "user-key"}])
def test_a_key_is_good_under_its_own_scheme(auth: dict[str, str], start: Start) -> None:
    with client_of(start(), auth=auth) as client:
        assert client.list_jobs() == []


@pytest.mark.parametrize("auth", [{"app_key": "user-key"}, {"bearer": KEY}, {"app_key": "unknown"}])
def test_a_key_under_another_scheme_is_not(auth: dict[str, str], start: Start) -> None:
    with client_of(start(), auth=auth) as client, pytest.raises(CelonisUnauthorized) as caught:
        client.list_jobs()
    assert "celonis.auth" in caught.value.hint


OAUTH = {"oauth": {"client_id": "client", "client_secret": "secret"}}


def seen(emulator: Emulator) -> dict[str, int]:
    answer = httpx.get(f"{emulator.url}/emulator/requests", trust_env=False)
    return dict(answer.json()["operations"])


def test_oauth_fetches_one_token_and_another_one_when_the_platform_forgets_it(start: Start, tmp_path: Path) -> None:
    now = [1_768_471_200.0]
    emulator = start(oauth_clients={"client": OAuthClient("secret", [POOL])}, clock=lambda: now[0])
    with client_of(emulator, auth=OAUTH) as client:
        job = client.create_job(spec())
        client.get_job(job.id)
        assert seen(emulator)["token"] == 1
        now[0] += 901  # the platform's clock alone: the token ends earlier than it was said
        client.add_upserts(job.id, chunk(tmp_path / "1", (1, "a")))
        assert seen(emulator)["token"] == 2
        assert len(client.list_chunks(job.id)) == 1, "the chunk went up again, whole, and stands there once"


@pytest.mark.parametrize("oauth", [{"client_secret": "wrong"}, {"client_id": "unknown"}, {"scope": "everything"}])
def test_oauth_with_a_wrong_client_names_its_settings(oauth: dict[str, str], start: Start) -> None:
    emulator = start(oauth_clients={"client": OAuthClient("secret", [POOL])})
    auth = {"oauth": OAUTH["oauth"] | oauth}
    with client_of(emulator, auth=auth) as client, pytest.raises(CelonisUnauthorized) as caught:
        client.list_jobs()
    assert "celonis.auth.oauth" in caught.value.hint


@pytest.mark.parametrize("fault", ["token:1:503", "token:1:html", "token:1:cut", "token:1:empty", "token:1:500"])
def test_a_token_endpoint_in_trouble_is_asked_again_the_next_time(fault: str, start: Start) -> None:
    emulator = start(fault, oauth_clients={"client": OAuthClient("secret", [POOL])})
    with client_of(emulator, auth=OAUTH) as client:
        with pytest.raises((CelonisUnreachable, CelonisThrottled)):
            client.list_jobs()
        assert client.list_jobs() == []


def test_tls_with_an_authority_of_ones_own(start: Start) -> None:
    emulator = start(tls=True)
    with client_of(emulator, ca_file=str(emulator.ca_file)) as client:
        assert client.list_jobs() == []
    with client_of(emulator) as client, pytest.raises(CelonisError, match=r"celonis\.ca_file"):
        client.list_jobs()


def test_the_columns_of_a_table_are_those_of_its_latest_job(start: Start, tmp_path: Path) -> None:
    emulator = start()
    with client_of(emulator) as client:
        job = client.create_job(spec())
        client.add_upserts(job.id, chunk(tmp_path / "1", (1, "a")))
        assert run(emulator, client, job.id) is Status.DONE
        client.create_job(JobSpec("OTHER", table_schema=SCHEMA.to_wire("OTHER", ())))
        found = schemas_of(client.list_jobs(), None)
        assert list(found) == ["t"]
    assert [(c.name, c.type, c.length, c.established) for c in found["t"].columns] == [
        ("id", ColumnType.INTEGER, 0, True),
        ("name", ColumnType.STRING, 80, True),
    ]
