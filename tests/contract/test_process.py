"""The emulator as a process of its own: it survives kill -9 with its data, speaks HTTPS, and ends when asked."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.contract.api import POOL, parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = "very-secret-key"
ROOT = f"/data-ingestion/api/v1/data-push/{POOL}"
RETRIES = 3000


class Process:
    """`python -m connector.emulator` with a client of its own."""

    def __init__(self, directory: Path, *options: str) -> None:
        command = [sys.executable, "-W", "error", "-m", "connector.emulator", "--port", "0"]
        command += ["--directory", str(directory), "--app-key", "${THE_KEY}", "--per-second", "1000", *options]
        environment = {**os.environ, "THE_KEY": KEY}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        self.output: list[str] = []
        assert self.process.stdout
        for line in self.process.stdout:
            self.output.append(line)
            if line.startswith("stop"):
                break
        self.said = dict(line.split(maxsplit=1) for line in self.output)
        self.url = self.said["url"].strip()
        verify: Any = ssl.create_default_context(cafile=self.said["ca"].strip()) if "ca" in self.said else True
        self.http = httpx.Client(
            base_url=self.url, headers={"authorization": f"AppKey {KEY}"}, timeout=60, verify=verify, trust_env=False
        )

    def end(self, number: signal.Signals) -> int:
        self.http.close()
        self.process.send_signal(number)
        code = self.process.wait(60)
        assert self.process.stdout
        self.output += self.process.stdout.readlines()
        self.process.stdout.close()
        return code

    def kill(self) -> None:
        if self.process.poll() is None:
            assert self.end(signal.SIGKILL) == -signal.SIGKILL

    def new(self, table: str, **fields: Any) -> str:
        answer = self.http.post(f"{ROOT}/jobs/", json={"targetName": table, "type": "DELTA"} | fields)
        return str(answer.raise_for_status().json()["id"])

    def upload(self, job: str, data: bytes) -> None:
        self.http.post(f"{ROOT}/jobs/{job}/chunks/upserted", files={"file": data}).raise_for_status()

    def execute(self, job: str) -> None:
        self.http.post(f"{ROOT}/jobs/{job}").raise_for_status()

    def status(self, job: str) -> str:
        return str(self.http.get(f"{ROOT}/jobs/{job}").raise_for_status().json()["status"])

    def wait(self, job: str, *statuses: str) -> str:
        pause = threading.Event()
        for _ in range(RETRIES):
            if (status := self.status(job)) in statuses:
                return status
            pause.wait(0.02)
        raise AssertionError(f"{job} is {status}")

    def sql(self, sql: str) -> list[list[Any]]:
        return list(self.http.post("/emulator/sql", content=sql).raise_for_status().json()["rows"])


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    with ExitStack() as parts:

        def started(*options: str) -> Process:
            process = Process(tmp_path / "data", *options)
            parts.callback(process.kill)
            return process

        yield started


def test_jobs_chunks_tables_and_the_hours_count_survive_kill_9(run: Callable[..., Process]) -> None:
    first = run("--latency", "run=600")
    new, running = first.new("T"), first.new("T")
    for job in (new, running):
        first.upload(job, parquet(a=[1, 2]))
    before = first.http.get(f"{ROOT}/jobs/{new}/chunks").json()
    first.execute(running)
    first.wait(running, "RUNNING")
    counted = first.http.get("/emulator/requests").json()["executes"]
    first.kill()

    second = run()
    assert second.http.get(f"{ROOT}/jobs/{new}/chunks").json() == before
    assert second.wait(running, "DONE", "ERROR") == "DONE"
    assert second.http.get("/emulator/requests").json()["executes"] == counted
    second.execute(new)
    second.wait(new, "DONE")
    assert second.sql("SELECT count(*) FROM T") == [[4]]


def test_a_job_that_kill_9_hits_is_applied_exactly_once(run: Callable[..., Process]) -> None:
    rows = 400_000
    data = parquet(a=list(range(rows)), s=[f"{i % 1000:>70}" for i in range(rows)])
    process = run()
    for n in range(1, 5):
        job = process.new("T")
        process.upload(job, data)
        process.execute(job)
        process.wait(job, "RUNNING", "DONE")
        threading.Event().wait(0.04 * (n - 1))  # later in the load each time
        process.kill()
        process = run()
        assert process.wait(job, "DONE", "ERROR") == "DONE"
        assert process.sql("SELECT count(*), count(DISTINCT a) FROM T") == [[n * rows, rows]]


def test_files_that_no_job_needs_are_removed_at_the_next_start(run: Callable[..., Process], tmp_path: Path) -> None:
    process = run()
    job = process.new("T")
    process.upload(job, parquet(a=[1]))
    process.kill()
    chunks = tmp_path / "data" / "chunks"
    (chunks / "left-over.part").write_bytes(b"x")
    (kept,) = [file.name for file in chunks.iterdir() if not file.suffix]
    run()
    assert [file.name for file in chunks.iterdir()] == [kept]


def test_https_is_verified_against_the_printed_authority(run: Callable[..., Process]) -> None:
    process = run("--tls")
    assert process.url.startswith("https://")
    assert process.status(process.new("T")) == "NEW"
    with pytest.raises(httpx.ConnectError, match="certificate"):
        httpx.get(process.url, trust_env=False)
    process.kill()
    again = run("--tls")
    assert again.status(again.new("T")) == "NEW"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_asked_and_never_shows_a_secret(run: Callable[..., Process], number: Any) -> None:
    process = run("--latency", "run=600", "--bearer-key", "user-secret", "--oauth-client", "id=client-secret")
    job = process.new("T")
    process.execute(job)
    assert process.end(number) == 0
    output = "".join(process.output)
    assert not [secret for secret in (KEY, "user-secret", "client-secret") if secret in output]


def test_two_processes_cannot_share_a_directory(run: Callable[..., Process], tmp_path: Path) -> None:
    run()
    second = subprocess.run(
        [sys.executable, "-m", "connector.emulator", "--port", "0", "--directory", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 2
    assert "used by another process" in second.stderr
