"""The image itself, built and run by a real engine as the chart and compose.yaml run it.

Where no engine or no base can be had the tests are skipped, also under CI: test_steps.py does the same steps without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import yaml

from connector.demo.registry import RegistryServer
from connector.demo.running import free_port
from connector.ending import EXIT_USAGE
from tests.image.dockerfile import ROOT, health_command
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.engine import Engine
    from tests.kafka_broker import KafkaBroker

pytestmark = pytest.mark.timeout(900)  # where the base is made first

DRAIN_SECONDS = 20
SPEED = 60  # the hours of the trial, as in the demo
COMMANDS = ("run", "check", "plan", "budget", "replay", "emulator")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs_in_the_image(engine: Engine, command: str) -> None:
    done = engine.run(command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"kafka-celonis {command}" in done.stdout


def test_without_a_configuration_the_image_says_so(engine: Engine) -> None:
    done = engine.run()
    assert done.returncode == EXIT_USAGE, done.stderr
    assert "/etc/kafka-celonis/connector.yaml" in done.stderr


def test_only_the_volumes_can_be_written_to_by_a_user_without_rights(engine: Engine) -> None:
    script = (
        "import os\n"
        "def writable(p):\n"
        "    try: open(p + '/probe', 'w')\n"
        "    except OSError: return False\n"
        "    return True\n"
        "paths = ('/', '/opt/kafka-celonis', '/etc', '/spool', '/data')\n"
        "print(os.getuid(), os.getgid(), [p for p in paths if writable(p)])"
    )
    done = engine.run("-c", script, options=("--entrypoint", "python3"))
    assert done.stdout.strip() == "10001 10001 ['/spool', '/data']", done.stderr


def test_the_parts_of_compose_stream_rows_into_tables_and_the_connector_drains(
    engine: Engine, kafka: KafkaBroker, tmp_path: Path
) -> None:
    emulator, connector = free_port(), free_port()
    with RegistryServer() as registry, engine.volume() as shared:
        config = _configuration(tmp_path, kafka.bootstrap, registry.url, emulator, connector)
        mounts = (f"{shared}:/emulator:ro", f"{config}:/etc/kafka-celonis/connector.yaml:ro")
        ours = tuple(part for mount in mounts for part in ("--volume", mount))
        health = ("--env", f"KAFKA_CELONIS_HEALTH_URL=http://127.0.0.1:{connector}/livez")
        arguments = ("--port", str(emulator), "--directory", "/data", "--clock-speed", str(SPEED))
        with engine.started("emulator", *arguments, options=("--volume", f"{shared}:/data")) as first:
            wait_for(lambda: _sql(emulator, "SELECT 1"))
            told = _tell(engine, kafka.bootstrap, registry.url)
            checked = engine.run("check", options=ours)
            assert checked.returncode == 0, checked.stdout
            with engine.started("run", options=(*ours, *health)) as second:
                wait_for(lambda: engine.run_inside(second, *health_command()) == 0 or engine.ended(second))
                wait_for(lambda: _count(emulator) == told or engine.ended(second), 60)
                for command in (["plan"], ["budget"], ["replay", "ACTIVITIES", "--into", "COPY", "--dry-run"]):
                    asked = engine.run(*command, options=ours)
                    assert asked.returncode == 0, asked.stdout + asked.stderr
                assert engine.stop(second, DRAIN_SECONDS) == 0, engine.log(second)
                assert '"stopped"' in engine.log(second)
            assert engine.stop(first, DRAIN_SECONDS) == 0, engine.log(first)


def _configuration(folder: Path, brokers: str, registry: str, emulator: int, connector: int) -> Path:
    """Return compose's own configuration with the addresses of this test, and hurried."""
    text = (ROOT / "docker/compose/connector.yaml").read_text(encoding="utf-8")
    here = {"kafka:9092": brokers, "http://registry:8081": registry, "emulator:9010": f"127.0.0.1:{emulator}"}
    for there, address in here.items():
        assert there in text
        text = text.replace(there, address)
    settings = yaml.safe_load(text)
    settings["budget"] = {"clock_speed": SPEED}
    settings["defaults"]["flush"]["age"] = "1 s"
    settings["observe"] = {"host": "127.0.0.1", "port": connector}
    path = folder / "connector.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def _tell(engine: Engine, brokers: str, registry: str) -> int:
    """Let the producer of compose tell for a moment; return the number of activities."""
    arguments = ("-m", "connector.demo", "--brokers", brokers, "--registry", registry, "--rate", "500")
    done = engine.run(*arguments, "--seconds", "1", options=("--entrypoint", "python3"))
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-2].replace(",", ""))


def _count(port: int) -> int:
    answer = _sql(port, "SELECT count(*) AS n FROM ACTIVITIES")
    return int(answer.json()["rows"][0][0]) if answer is not None and answer.is_success else 0


def _sql(port: int, query: str) -> httpx.Response | None:
    try:
        return httpx.post(f"http://127.0.0.1:{port}/emulator/sql", content=query, timeout=5)
    except httpx.TransportError:
        return None
