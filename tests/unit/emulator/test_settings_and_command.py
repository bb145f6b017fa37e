"""Settings, and the way to them from the command line and the environment."""

from __future__ import annotations

import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from connector.emulator import EmulatorSettings, Hints, OAuthClient
from connector.emulator.command import APP_KEY, KeySource, emulator, read_options
from connector.emulator.faults import OPERATIONS
from connector.emulator.settings import DEFAULT_POOL
from connector.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

OTHER = "99999999-2222-3333-4444-555555555555"


def options(directory: Path, *arguments: str) -> dict[str, Any]:
    """Return what click hands over for these arguments."""
    return emulator.make_context("emulator", ["--directory", str(directory), *arguments]).params


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"pools": {"no-uuid": "x"}}, "pools: 'no-uuid' is not a UUID"),
        ({"app_keys": {"k": [OTHER]}}, f"keys: they name the pool '{OTHER}'"),
        ({"bearer_keys": {"k": [OTHER]}}, f"keys: they name the pool '{OTHER}'"),
        ({"oauth_clients": {"c": OAuthClient("s", [OTHER])}}, f"keys: they name the pool '{OTHER}'"),
        ({"latencies": {"walk": 1.0}}, "latency: 'walk' is none of"),
        ({"latencies": {"run": -1.0}}, "latency: run=-1.0 is negative"),
        ({"clock_speed": 0.0}, "clock-speed: 0.0 is not above 0"),
        ({"clock_speed": 3601.0}, "clock-speed: 3601.0 is not above 0 and at most 3600"),
        ({"faults": ["x"]}, "fault 'x': expected"),
    ],
)
def test_settings_that_cannot_be_used_say_why(tmp_path: Path, fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(EmulatorSettings(tmp_path), **fields)
    assert caught.value.problems[0].startswith(problem)


def test_secrets_do_not_show_in_settings(tmp_path: Path) -> None:
    settings = EmulatorSettings(
        tmp_path,
        app_keys={"hidden-1": [DEFAULT_POOL]},
        bearer_keys={"hidden-2": [DEFAULT_POOL]},
        oauth_clients={"client": OAuthClient("hidden-3", [DEFAULT_POOL])},
    )
    assert "hidden" not in repr(settings)


def test_without_options_a_key_is_made_kept_and_private(tmp_path: Path) -> None:
    file = tmp_path / "app-key"
    first, source = read_options(options(tmp_path), {})
    second, _ = read_options(options(tmp_path), {})
    assert source == KeySource(f"in the file {file}", f"$(cat {file})")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert dict(first.app_keys) == dict(second.app_keys) == {file.read_text(): (DEFAULT_POOL,)}
    assert (first.host, first.per_hour, first.per_second, first.executes_in_flight) == ("127.0.0.1", 250, 10, 1)


def test_the_key_comes_from_the_environment_when_it_is_there(tmp_path: Path) -> None:
    settings, source = read_options(options(tmp_path), {APP_KEY: "from-env"})
    assert (list(settings.app_keys), source.shell) == (["from-env"], f"${APP_KEY}")
    settings, source = read_options(options(tmp_path, "--app-key", "${MINE}"), {APP_KEY: "from-env", "MINE": "mine"})
    assert (list(settings.app_keys), source.shell) == (["mine"], "$MINE")


def test_every_option_reaches_its_setting(tmp_path: Path) -> None:
    arguments = [
        "--host", "::1", "--port", "0", "--tls", "--pool", f"{OTHER}=mine", "--app-key", "a", "--bearer-key", "${B}",
        "--oauth-client", "c=${S}", "--token-seconds", "5", "--per-hour", "3", "--per-second", "2",
        "--clock-speed", "60", "--executes-in-flight", "4", "--hints", "none", "--latency", "run=2",
        "--latency", "execute=0.5", "--fault", "get:1:500", "--lenient", "--seed", "7",
    ]  # fmt: skip
    settings, source = read_options(options(tmp_path, *arguments), {"B": "b", "S": "s"})
    assert source.shell == "<application key>"
    assert settings == EmulatorSettings(
        tmp_path,
        host="::1",
        port=0,
        tls=True,
        pools={OTHER: "mine"},
        app_keys={"a": (OTHER,)},
        bearer_keys={"b": (OTHER,)},
        oauth_clients={"c": OAuthClient("s", (OTHER,))},
        token_seconds=5,
        per_hour=3,
        per_second=2,
        clock_speed=60,
        executes_in_flight=4,
        hints=Hints.NONE,
        latencies={"run": 2.0, "execute": 0.5},
        faults=("get:1:500",),
        strict=False,
        seed=7,
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--app-key", "${NOT_THERE}"], "${NOT_THERE} is not set"),
        (["--pool", "x"], "--pool: expected NAME=VALUE"),
        (["--latency", "run=fast"], "--latency: 'fast' is not a number of seconds"),
        (["--latency", "walk=1"], "latency: 'walk' is none of"),
        (["--fault", "x"], "fault 'x'"),
    ],
)
def test_an_option_that_cannot_be_used_says_why(tmp_path: Path, arguments: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_options(options(tmp_path, *arguments), {})
    assert caught.value.problems[0].startswith(problem)


@pytest.mark.parametrize("given", ["=hidden", "hidden", "hidden="])
def test_a_wrong_secret_pair_does_not_show_the_secret(tmp_path: Path, given: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_options(options(tmp_path, "--oauth-client", given), {})
    assert "hidden" not in str(caught.value)


def test_the_help_tells_the_grammar_of_faults_and_every_operation() -> None:
    said = CliRunner().invoke(emulator, ["--help"]).output
    assert "operation:nth[-mth|+]:what[-before|-after]" in said
    assert [operation for operation in OPERATIONS if operation not in said] == []
