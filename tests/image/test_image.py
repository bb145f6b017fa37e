"""The image itself, built and run by a real engine as the chart and compose.yaml run it.

Where no engine or no base can be had the tests are skipped, also under CI: test_steps.py does the same steps without.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml

from connector import __version__
from connector.demo.registry import RegistryServer
from connector.demo.running import free_port
from connector.ending import EXIT_USAGE
from tests.image.dockerfile import ROOT, health_command
from tests.image.engine import IMAGE
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.image.engine import Engine
    from tests.kafka_broker import KafkaBroker

pytestmark = pytest.mark.timeout(900)  # where the base is made first

DRAIN_SECONDS = 20
SPEED = 60  # the hours of the trial, as in the demo
COMPOSE = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))
SHELLS = ("dash", "bash")
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


def test_its_labels_tell_what_it_is(engine: Engine) -> None:
    labels = json.loads(engine.ask("image", "inspect", "--format", "{{json .Config.Labels}}", IMAGE))
    kept = {name.rpartition(".")[2]: text for name, text in labels.items() if name.startswith("org.opencontainers.")}
    assert (kept["title"], kept["version"], kept["licenses"]) == ("kafka-celonis-connector", __version__, "Apache-2.0")


def test_it_needs_no_shell(engine: Engine) -> None:
    hidden = tuple(part for shell in SHELLS for part in ("--volume", f"/dev/null:/usr/bin/{shell}:ro"))
    assert engine.run("-c", "exit 0", options=(*hidden, "--entrypoint", "sh")).returncode != 0
    done = engine.run("--version", options=hidden)
    assert done.stdout.split()[-1:] == [__version__], done.stderr


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


def test_our_services_of_compose_stream_rows_into_tables_and_each_ends_when_it_is_asked_to(
    engine: Engine, kafka: KafkaBroker, tmp_path: Path
) -> None:
    emulator, connector = free_port(), free_port()
    with RegistryServer() as registry, engine.volume() as shared, engine.volume() as spool:
        config = _configuration(tmp_path, kafka.bootstrap, registry.url, emulator, connector)
        here = {
            "kafka:9092": kafka.bootstrap, "http://registry:8081": registry.url, "9010": str(emulator),
            "0.0.0.0": "127.0.0.1", "emulator:/": f"{shared}:/", "spool:/": f"{spool}:/",
            "./compose/connector.yaml": str(config),
        }  # fmt: skip
        teller, told = _of_compose("producer", here)
        ours, run = _of_compose("connector", here)
        health = ("--env", f"KAFKA_CELONIS_HEALTH_URL=http://127.0.0.1:{connector}/livez")
        options, serve = _of_compose("emulator", here)
        with engine.started(*serve, "--clock-speed", str(SPEED), options=options) as first:
            wait_for(lambda: engine.run_inside(first, *health_command()) == 0 or engine.ended(first))
            with engine.started(*told, options=teller) as third:
                wait_for(lambda: engine.run("check", options=ours).returncode == 0 or engine.ended(third))
                with engine.started(*run, options=(*ours, *health)) as second:
                    wait_for(lambda: engine.run_inside(second, *health_command()) == 0 or engine.ended(second))
                    wait_for(lambda: _count(emulator) or engine.ended(second), 60)
                    assert engine.stop(third, DRAIN_SECONDS) == 0, engine.log(third)
                    activities = int(engine.log(third).split()[-2].replace(",", ""))
                    wait_for(lambda: _count(emulator) == activities or engine.ended(second), 60)
                    for command in (["plan"], ["budget"], ["replay", "ACTIVITIES", "--into", "COPY", "--dry-run"]):
                        asked = engine.run(*command, options=ours)
                        assert asked.returncode == 0, asked.stdout + asked.stderr
                    assert engine.stop(second, DRAIN_SECONDS) == 0, engine.log(second)
                    assert '"stopped"' in engine.log(second)
            assert engine.stop(first, DRAIN_SECONDS) == 0, engine.log(first)


def _of_compose(name: str, here: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what a service is started with: the engine's options and its arguments, with the addresses of this test.

    What all of ours may not do (`x-ours`) is what the engine locks for every container of these tests.
    """

    def moved(text: str) -> str:
        for there, address in here.items():
            text = text.replace(there, address)
        return text

    service = COMPOSE["services"][name]
    program, *before = service.get("entrypoint", [""])
    options = [part for mount in service.get("volumes", ()) for part in ("--volume", moved(mount))]
    options += [
        part for key, value in service.get("environment", {}).items() for part in ("--env", f"{key}={moved(value)}")
    ]
    options += ["--entrypoint", program] if program else []
    return tuple(options), (*before, *map(moved, service["command"]))


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


def _count(port: int) -> int:
    answer = _sql(port, "SELECT count(*) AS n FROM ACTIVITIES")
    return int(answer.json()["rows"][0][0]) if answer is not None and answer.is_success else 0


def _sql(port: int, query: str) -> httpx.Response | None:
    try:
        return httpx.post(f"http://127.0.0.1:{port}/emulator/sql", content=query, timeout=5)
    except httpx.TransportError:
        return None
