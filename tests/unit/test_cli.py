"""The command line: helps, exit codes, and lines that a person can act on."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from click.testing import CliRunner

from connector import errors
from connector.cli import main
from connector.config import Observe
from connector.ending import EXIT_CODES, exit_code
from connector.observe.health import Health
from connector.observe.metrics import Metrics
from connector.observe.server import ObserveServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

    Write = Callable[..., Path]

POOL = "11111111-2222-3333-4444-555555555555"
SECRET = "s3cr3t-value"
SECONDS = 60


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address on loopback that is ours and refuses every connection."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def write(tmp_path: Path, nowhere: str) -> Write:
    """Return a way to write a configuration that is right but reaches nothing; `changes` go to its top level."""

    def written(**changes: Any) -> Path:
        auth = {"app_key": "${KEY}"}
        document = {
            "kafka": {"brokers": nowhere, "dead_letter_topic": None},
            "celonis": {"team_url": f"http://{nowhere}", "pool_id": POOL, "auth": auth, "request_timeout": 1},
            "tables": [{"topics": ["orders"], "target": "T", "format": "json"}],
            "spool": {"directory": str(tmp_path / "spool")},
            "observe": {"host": "127.0.0.1", "port": 0, "log_format": "json"},
            "drain_timeout": 1,
        }
        path = tmp_path / "connector.yaml"
        path.write_text(yaml.safe_dump(document | changes))
        return path

    return written


def invoke(*arguments: object) -> Result:
    return CliRunner(env={"KEY": SECRET}).invoke(main, [str(a) for a in arguments])


def commands(group: click.Group = main, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the path of every command."""
    context = click.Context(group)
    for name in group.list_commands(context):
        yield (*path, name)
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


def test_status_tells_how_the_service_stands_and_what_waits_for_a_person(write: Write) -> None:
    health = Health(lambda: 0.0)
    server = ObserveServer(Observe(host="127.0.0.1", port=0), health, Metrics().registry)
    server.start()
    path = write(observe={"host": "127.0.0.1", "port": server.port})
    health.tell(joined=True, budget={"mode": "paced", "pushes_left": 7})
    well = invoke("status", "-c", path)
    health.tell(joined=True, troubles={"partition orders[0]": "stuck at offset 5"})
    badly = invoke("status", "-c", path)
    server.stop()
    assert (well.exit_code, badly.exit_code) == (0, 3), well.output
    assert "budget: mode paced, pushes_left 7" in well.output.splitlines()
    assert "absent_topics: none" in well.output.splitlines()
    assert badly.output.splitlines()[-1] == "partition orders[0]: stuck at offset 5"


def test_these_are_the_commands() -> None:
    assert {" ".join(path) for path in commands()} >= {
        "run",
        "check",
        "demo",
        "emulator",
        "config show",
        "config schema",
    }


@pytest.mark.parametrize("path", [(), *commands()], ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_explains_itself(path: tuple[str, ...], flag: str) -> None:
    result = invoke(*path, flag)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: main {' '.join(path)}".rstrip())
    assert re.search(r"\n\n  [A-Z]", result.stdout), "what it does, in a sentence"


def test_the_version_is_told() -> None:
    assert invoke("--version").stdout.startswith("kafka-celonis, version ")


# --- exit codes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError(["x"]), 2),
        (errors.SourceError("fenced"), 4),
        (errors.CelonisUnauthorized("401"), 5),
        (errors.CelonisRefused("403"), 5),
        (errors.SpoolFull("full"), 6),
        (errors.ConnectorError("x"), 6),
    ],
)
def test_every_error_of_ours_has_an_exit_code_that_is_documented(error: errors.ConnectorError, code: int) -> None:
    assert exit_code(error) == code
    assert code in EXIT_CODES


def test_a_command_or_option_that_is_not_there_ends_with_2() -> None:
    for arguments in (["unknown"], ["run", "--unknown"], ["config", "unknown"], ["demo", "--seconds", "soon"]):
        assert invoke(*arguments).exit_code == 2


@pytest.mark.parametrize("command", [("check",), ("config", "show")])
def test_a_configuration_that_cannot_be_used_ends_with_2_and_its_problems(
    command: tuple[str, ...], write: Write
) -> None:
    result = invoke(*command, "--config", write(unknown=1, spool={"bytes": "many"}))
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert lines[0].startswith("kafka-celonis: 2 problem(s) in ")
    assert [line.split(": ")[0] for line in lines[1:]] == ["  - spool.bytes", "  - unknown"]
    assert "Traceback" not in result.output


def test_a_service_says_so_in_one_line_of_its_log_where_no_person_looks(write: Write) -> None:
    result = invoke("run", "--config", write(unknown=1, spool={"bytes": "many"}))
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    told = json.loads(line)
    assert (told["event"], told["level"], told["exit_code"]) == ("ended", "error", 2)
    assert [problem.split(": ")[0] for problem in told["error"].splitlines()[1:]] == ["  - spool.bytes", "  - unknown"]


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = invoke("config", "show", "-c", tmp_path / "gone.yaml")
    assert result.exit_code == 2
    assert f"cannot read {tmp_path / 'gone.yaml'}: No such file or directory" in result.stderr


def test_the_environment_may_name_the_configuration(write: Write) -> None:
    env = {"KEY": SECRET, "KAFKA_CELONIS_CONFIG": str(write())}
    assert CliRunner(env=env).invoke(main, ["config", "show"]).exit_code == 0


# --- config ---------------------------------------------------------------------------------------------------


def test_show_prints_the_effective_settings_as_yaml_with_secrets_masked(write: Write) -> None:
    result = invoke("config", "show", "--config", write())
    assert result.exit_code == 0
    shown = yaml.safe_load(result.stdout)
    assert shown["celonis"]["auth"]["app_key"] == "**********"
    assert shown["kafka"]["poll_messages"] == 10_000
    assert SECRET not in result.output


def test_schema_prints_json() -> None:
    schema = json.loads(invoke("config", "schema").stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(schema["required"]) == {"kafka", "celonis", "tables"}


# --- processes ------------------------------------------------------------------------------------------------


def process(*command: str, **options: Any) -> subprocess.Popen[str]:
    env = os.environ | {"KEY": SECRET}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *command], env=env, **(pipes | options))


def test_check_prints_a_line_a_check_and_the_next_step_and_ends_with_3(write: Write) -> None:
    with process("-m", "connector", "check", "--config", str(write())) as checking:
        out, err = checking.communicate(timeout=SECONDS)
    assert checking.returncode == 3, err
    lines = out.splitlines()
    checks = [line for line in lines if not line.startswith("      ")]
    assert [line.split(": ")[0] for line in checks] == [
        "FAIL  Kafka brokers",
        "FAIL  topic orders",
        "FAIL  group kafka-celonis",
        "FAIL  group kafka-celonis.orders",
        "FAIL  Celonis key and pool",
        "pass  spool directory",
    ]
    assert "celonis.team_url" in lines[lines.index(checks[4]) + 1]
    assert all(line.strip() for line in lines)
    assert SECRET not in out + err


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_run_ends_with_2_when_its_port_is_taken_and_says_so_in_the_format_of_its_log(
    log_format: str, write: Write
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = write(observe={"host": "127.0.0.1", "port": port, "log_format": log_format})
        with process("-m", "connector", "run", "--config", str(path)) as running:
            _, err = running.communicate(timeout=SECONDS)
    assert running.returncode == 2
    assert f"observe: cannot listen on 127.0.0.1:{port}" in err
    assert "Traceback" not in err
    if log_format == "json":
        last = json.loads(err.splitlines()[-1])
        assert (last["event"], last["level"], last["exit_code"]) == ("ended", "error", 2)


UNEXPECTED = """
from connector import cli, ending
settings = cli._settings(cli.Path({path!r}))
with ending.last_line(settings.observe.log_format):
    secret = {secret!r}
    raise ZeroDivisionError("a bug")
"""


def test_an_unexpected_end_is_one_line_with_its_stack_and_without_local_variables(write: Write) -> None:
    program = UNEXPECTED.format(path=str(write()), secret="local-" + SECRET)
    with process("-c", program) as ending:
        _, err = ending.communicate(timeout=SECONDS)
    assert ending.returncode == 1
    (line,) = err.splitlines()
    told = json.loads(line)
    assert (told["event"], told["level"]) == ("ended unexpectedly", "error")
    assert "ZeroDivisionError: a bug" in told["exception"]
    assert SECRET not in told["exception"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_drains_at_the_first_signal_and_ends_with_0_also_when_nothing_answers(number: int, write: Write) -> None:
    with process("-m", "connector", "run", "--config", str(write())) as running:
        try:
            assert running.stderr is not None
            events = (json.loads(line)["event"] for line in running.stderr if line.startswith("{"))
            assert any(event == "started" for event in events)
            running.send_signal(number)
            _, err = running.communicate(timeout=SECONDS)
        finally:
            running.kill()
    assert running.returncode == 0, err
    told = [json.loads(line)["event"] for line in err.splitlines() if line.startswith("{")]
    assert "draining" in told
    assert "stopped" in told
    assert SECRET not in err


STOP = """
import time
from connector.ending import Stop
stop = Stop()
print("up", flush=True)
while not stop.requested():
    time.sleep(0.01)
print("asked", flush=True)
while True:
    time.sleep(0.01)
"""


def test_the_second_signal_ends_at_once() -> None:
    with process("-c", STOP) as stubborn:
        try:
            assert stubborn.stdout is not None
            assert stubborn.stdout.readline() == "up\n"
            stubborn.send_signal(signal.SIGTERM)
            assert stubborn.stdout.readline() == "asked\n"
            stubborn.send_signal(signal.SIGTERM)
            _, err = stubborn.communicate(timeout=SECONDS)
        finally:
            stubborn.kill()
    assert stubborn.returncode == 130
    assert err == "stopped at once: what was not committed is read again\n"


WITHOUT_EXTRA = (
    "import sys; sys.modules['duckdb'] = None; from connector.cli import main; main(prog_name='kafka-celonis')"
)


@pytest.mark.parametrize(
    ("arguments", "code"), [(["emulator"], 2), (["demo"], 2), (["--help"], 0), (["emulator", "x"], 2)]
)
def test_what_is_an_extra_says_how_to_install_it_and_the_rest_works_without(arguments: list[str], code: int) -> None:
    with process("-c", WITHOUT_EXTRA, *arguments) as command:
        out, err = command.communicate(timeout=SECONDS)
    assert command.returncode == code, err
    if code:
        assert "duckdb is not installed: pip install 'kafka-celonis-connector[emulator]'" in err
    else:
        assert "Answer the Data Push API (not installed)." in out
