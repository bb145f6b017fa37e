"""The Dockerfile's own steps, done in a clean environment where no engine is needed, and what then runs.

The environment knows nothing of this clone: no HOME, an empty PYTHONPATH, a working directory that stays empty.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tarfile
import tomllib
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from connector.cli import main
from connector.demo.running import free_port
from connector.emulator.command import APP_KEY
from connector.ending import EXIT_USAGE
from connector.kafka.embedded import EmbeddedCluster
from tests.image.dockerfile import ROOT, Replayed, environment, health_command, last
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_META = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PROJECT, VERSION = _META["name"], _META["version"]
POOL = "11111111-2222-3333-4444-555555555555"
DRAIN_SECONDS = 10
COMMANDS = ("run", "check", "plan", "budget", "replay", "emulator")


def _environment(installed: Replayed, own: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": str(installed.bin), **environment(), **own}


def _done(installed: Replayed, cwd: Path, *command: str, **own: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(installed.bin / command[0]), *command[1:]],
        cwd=cwd, env=_environment(installed, own), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@contextmanager
def _running(installed: Replayed, cwd: Path, *arguments: str, **own: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(installed.bin / "kafka-celonis"), *arguments]
    process = subprocess.Popen(
        command, cwd=cwd, env=_environment(installed, own), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def _healthy(installed: Replayed, cwd: Path, url: str) -> bool:
    return _done(installed, cwd, *health_command(), KAFKA_CELONIS_HEALTH_URL=url, http_proxy="http://x").returncode == 0


def test_the_product_says_its_version(installed: Replayed, nothing_is_written: Path) -> None:
    done = _done(installed, nothing_is_written, "kafka-celonis", "--version")
    assert done.stdout.split()[-1] == VERSION, done.stderr
    assert list(nothing_is_written.iterdir()) == []


def test_no_installer_is_left_in_what_runs(installed: Replayed) -> None:
    assert not list(installed.bin.glob("pip*"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_there(installed: Replayed, nothing_is_written: Path, command: str) -> None:
    assert command in {*main.commands, "emulator"}
    done = _done(installed, nothing_is_written, "kafka-celonis", command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"kafka-celonis {command}" in done.stdout


def test_without_a_configuration_it_ends_with_a_line_that_says_so(
    installed: Replayed, nothing_is_written: Path
) -> None:
    done = _done(installed, nothing_is_written, "kafka-celonis", *json.loads(last("CMD")))
    assert done.returncode == EXIT_USAGE
    assert "/etc/kafka-celonis/connector.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_emulator_answers_and_ends_when_asked(
    installed: Replayed, nothing_is_written: Path, tmp_path: Path
) -> None:
    port, folder = free_port(), tmp_path / "data"
    url = f"http://127.0.0.1:{port}/emulator/requests"
    arguments = ("emulator", "--port", str(port), "--directory", str(folder))
    assert not _healthy(installed, nothing_is_written, url)
    with _running(installed, nothing_is_written, *arguments) as process:
        wait_for(lambda: _healthy(installed, nothing_is_written, url))
        process.send_signal(signal.SIGTERM)
        assert process.wait(DRAIN_SECONDS) == 0
    assert list(nothing_is_written.iterdir()) == []


def test_the_connector_is_alive_by_its_own_health_check_and_drains_at_the_first_signal(
    installed: Replayed, nothing_is_written: Path, tmp_path: Path
) -> None:
    port, team = free_port(), free_port()
    emulator = ("emulator", "--port", str(team), "--directory", str(tmp_path / "data"))
    key = {APP_KEY: "of-a-test"}
    with EmbeddedCluster() as kafka, _running(installed, nothing_is_written, *emulator, **key):
        kafka.create_topic("orders", 1)
        config = tmp_path / "connector.yaml"
        config.write_text(yaml.safe_dump(_configuration(kafka.bootstrap, port, team)))
        own = {"KAFKA_CELONIS_CONFIG": str(config), "SPOOL_DIRECTORY": str(tmp_path / "spool"), **key}
        url = f"http://127.0.0.1:{port}"
        with _running(installed, nothing_is_written, "run", **own) as process:
            wait_for(lambda: _answers(f"{url}/readyz"))
            assert _healthy(installed, nothing_is_written, f"{url}/livez")
            process.send_signal(signal.SIGTERM)
            assert process.wait(DRAIN_SECONDS) == 0
        assert not _healthy(installed, nothing_is_written, f"{url}/livez")
    assert list(nothing_is_written.iterdir()) == []


def _configuration(brokers: str, port: int, team: int) -> dict[str, Any]:
    auth = {"app_key": f"${{{APP_KEY}}}"}
    return {
        "kafka": {"brokers": brokers, "dead_letter_topic": None, "properties": {"session.timeout.ms": 6000}},
        "celonis": {"team_url": f"http://127.0.0.1:{team}", "pool_id": POOL, "auth": auth},
        "tables": [{"topics": ["orders"], "target": "ORDERS", "format": "json"}],
        "spool": {"directory": "${SPOOL_DIRECTORY}"},
        "observe": {"host": "127.0.0.1", "port": port},
    }


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


# --- wheel and source distribution -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def distributions(installed: Replayed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a source distribution, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    path = os.pathsep.join((str(installed.tools), os.environ["PATH"]))
    for command in (
        ["pip", "install", "--quiet", "--constraint", "constraints.txt", "build"],
        ["python3", "-m", "build", "--no-isolation", "--outdir", str(folder)],
    ):
        done = subprocess.run(
            [str(installed.tools / command[0]), *command[1:]],
            cwd=installed.moved("/src"), env={**os.environ, "PATH": path},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_wheel_and_a_source_distribution_of_this_version_are_built(distributions: Path) -> None:
    name = f"kafka_celonis_connector-{VERSION}"
    assert {p.name for p in distributions.iterdir()} == {f"{name}.tar.gz", f"{name}-py3-none-any.whl"}


def test_the_wheel_holds_the_product_and_nothing_else(installed: Replayed, distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {n.partition("/")[0] for n in names} == {"connector", f"kafka_celonis_connector-{VERSION}.dist-info"}
    tree = installed.moved("/src")
    source = {str(p.relative_to(tree)) for p in (tree / "connector").rglob("*.py")}
    assert source | {"connector/py.typed"} == {n for n in names if n.startswith("connector/")}
    assert any(n.endswith("/licenses/LICENSE") for n in names)


def test_the_source_distribution_brings_what_its_build_reads(distributions: Path) -> None:
    (source,) = distributions.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {"pyproject.toml", "README.md", "LICENSE", "connector/cli.py"}
    assert not [n for n in names if re.match(r"(helm|benchmarks|config|docker)/", n)]


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_both_install_in_a_clean_environment(
    installed: Replayed, distributions: Path, nothing_is_written: Path, tmp_path: Path, kind: str
) -> None:
    (distribution,) = distributions.glob(kind)
    pip = [str(installed.tools / "pip"), "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*pip, "--target", str(tmp_path / "clean"), str(distribution)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    clean = {"PYTHONPATH": str(tmp_path / "clean")}
    done = _done(installed, nothing_is_written, "python3", "-m", "connector", "--version", **clean)
    assert done.stdout.split()[-1] == VERSION, done.stderr


def test_the_bill_of_materials_names_all_that_is_installed_in_the_version_that_was_tested(
    installed: Replayed, tmp_path: Path
) -> None:
    bill = tmp_path / "bill.cdx.json"
    tree, python = installed.moved("/src"), installed.bin / "python3"
    for command in (
        ["pip", "install", "--quiet", "--constraint", "constraints.txt", "cyclonedx-bom"],
        ["cyclonedx-py", "environment", "--pyproject", "pyproject.toml", "--output-file", str(bill), str(python)],
    ):
        done = subprocess.run(
            [str(installed.tools / command[0]), *command[1:]],
            cwd=tree, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(bill.read_text(encoding="utf-8"))
    assert (told["metadata"]["component"]["name"], told["metadata"]["component"]["version"]) == (PROJECT, VERSION)
    parts = {c["name"].lower().replace("_", "-"): c["version"] for c in told["components"]}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.lower().replace("_", "-").split("==") for line in lines if not line.startswith("#"))
    assert parts.items() <= pinned.items()
    assert {"confluent-kafka", "pyarrow", "duckdb", "cryptography"} <= parts.keys()
