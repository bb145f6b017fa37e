"""Owns the command `emulator`: options and environment into settings, what a person needs to know onto the terminal.

Never shows a secret. Invariant: without any option it works, on loopback, and next time with the same tables and key.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from connector.emulator.faults import OPERATIONS
from connector.emulator.faults import __doc__ as fault_grammar
from connector.emulator.server import Emulator
from connector.emulator.settings import DEFAULT_POOL, MAX_CLOCK_SPEED, RUN, EmulatorSettings, Hints, OAuthClient
from connector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import FrameType

APP_KEY = "KAFKA_CELONIS_EMULATOR_APP_KEY"
_REFERENCE = re.compile(r"\$\{(\w+)\}")
_SECRET = "A value, or ${NAME} for the environment variable NAME."  # noqa: S105 - a help text
_FAULTS = "\b\n" + (fault_grammar or "").partition("\n\n")[2].partition("\n\nInvariant")[0].replace("\n\n", "\n\n\b\n")


@click.command(epilog=f"Faults:\n\n{_FAULTS}", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=9010, show_default=True, help="0: any free one.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("emulator-data"),
    show_default=True,
    help="Where tables, jobs and chunks are kept.",
)
@click.option("--tls", is_flag=True, help="HTTPS with a self-made certificate.")
@click.option("--pool", "pools", multiple=True, metavar="UUID=NAME", help=f"A data pool. [default: {DEFAULT_POOL}]")
@click.option(
    "--app-key",
    "app_keys",
    multiple=True,
    metavar="KEY",
    help=f"An application key for all pools. {_SECRET} [default: ${{{APP_KEY}}}, else one that is made and kept]",
)
@click.option("--bearer-key", "bearer_keys", multiple=True, metavar="KEY", help=f"A user API key. {_SECRET}")
@click.option("--oauth-client", "oauth_clients", multiple=True, metavar="ID=SECRET", help=f"An OAuth client. {_SECRET}")
@click.option(
    "--token-seconds", type=click.FloatRange(0), default=900, show_default=True, help="How long a token lives."
)
@click.option("--per-hour", type=click.IntRange(0), default=250, show_default=True, help="Executes per UTC hour.")
@click.option("--per-second", type=click.IntRange(0), default=10, show_default=True, help="Executes per second.")
@click.option(
    "--clock-speed",
    type=click.FloatRange(0, MAX_CLOCK_SPEED, min_open=True),
    default=1.0,
    show_default=True,
    help="How fast the team's hours, seconds and dates pass; 60: an hour a minute.",
)
@click.option("--executes-in-flight", type=click.IntRange(1), default=1, show_default=True, help="Per pool; then 409.")
@click.option(
    "--hints",
    type=click.Choice([h.value for h in Hints]),
    default=Hints.RATELIMIT.value,
    show_default=True,
    help="What a 429 tells.",
)
@click.option(
    "--latency",
    "latencies",
    multiple=True,
    metavar="OPERATION=SECONDS",
    help=f"{RUN} (how long a job runs) or {', '.join(OPERATIONS)}.",
)
@click.option("--fault", "faults", multiple=True, metavar="FAULT", help="See below; may be given several times.")
@click.option("--lenient", is_flag=True, help="Take Parquet features and names that nothing public shows to work.")
@click.option("--seed", type=int, help="Draw the same order of chunks and winners every time.")
def emulator(**options: Any) -> None:  # noqa: ANN401 - as many as there are options
    """Serve the Data Push API on this machine, and keep what is pushed in tables that SQL can query."""
    settings, key = read_options(options, os.environ)
    stop = _Stop()
    try:
        with Emulator(settings) as running:
            click.echo(_greeting(running, key))
            stop.requested.wait()
    except OSError as e:
        raise ConfigError([f"{settings.host}:{settings.port}: {e.strerror}"], source="options") from None


class KeySource(NamedTuple):
    """Where the application key stands, in words and for a shell; never the key."""

    words: str
    shell: str

    @classmethod
    def variable(cls, name: str) -> KeySource:
        """Return the source for an environment variable."""
        return cls(f"in the environment variable {name}", f"${name}")


def read_options(options: dict[str, Any], environment: Mapping[str, str]) -> tuple[EmulatorSettings, KeySource]:
    """Return the settings, and where a person finds the application key.

    Raises:
        ConfigError: an option cannot be used.
    """
    given = dict(options)
    pools = dict(_pairs(given.pop("pools"), "--pool")) or {DEFAULT_POOL: "emulator"}
    granted = tuple(pools)
    key, given_keys = KeySource("as given", "<application key>"), given.pop("app_keys")
    app_keys = [_resolved(text, environment) for text in given_keys]
    bearer_keys = [_resolved(text, environment) for text in given.pop("bearer_keys")]
    clients = {
        name: OAuthClient(_resolved(secret, environment), granted)
        for name, secret in _pairs(given.pop("oauth_clients"), "--oauth-client")
    }
    if given_keys and (match := _REFERENCE.fullmatch(given_keys[0])):
        key = KeySource.variable(match[1])
    elif not given_keys and environment.get(APP_KEY):
        key, app_keys = KeySource.variable(APP_KEY), [environment[APP_KEY]]
    elif not (app_keys or bearer_keys or clients):
        file = given["directory"] / "app-key"
        key, app_keys = KeySource(f"in the file {file}", f"$(cat {file})"), [_kept_key(file)]
    settings = EmulatorSettings(
        strict=not given.pop("lenient"),
        hints=Hints(given.pop("hints")),
        latencies={name: _seconds(text) for name, text in _pairs(given.pop("latencies"), "--latency")},
        pools=pools,
        app_keys=dict.fromkeys(app_keys, granted),
        bearer_keys=dict.fromkeys(bearer_keys, granted),
        oauth_clients=clients,
        **given,
    )
    return settings, key


class _Stop:
    """SIGTERM and SIGINT ask for the end."""

    def __init__(self) -> None:
        self.requested = threading.Event()
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what signal hands over
        self.requested.set()


def _greeting(running: Emulator, key: KeySource) -> str:
    settings = running.settings
    pool = next(iter(settings.pools))
    ca = f" --cacert {running.ca_file}" if running.ca_file else ""
    lines = [f"url      {running.url}"]
    lines += [f"pool     {pool}  {name}" for pool, name in settings.pools.items()]
    lines += [f"ca       {running.ca_file}"] if running.ca_file else []
    lines += [f"app key  {key.words}"]
    jobs = f"{running.url}/data-ingestion/api/v1/data-push/{pool}/jobs/"
    lines += [
        f'try      curl{ca} -H "Authorization: AppKey {key.shell}" {jobs}',
        f"sql      curl{ca} {running.url}/emulator/sql -d 'SHOW TABLES'",
        "stop     Ctrl-C",
    ]
    return "\n".join(lines)


def _resolved(text: str, environment: Mapping[str, str]) -> str:
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return text
    if not environment.get(match[1]):
        raise ConfigError([f"${{{match[1]}}} is not set"], source="options")
    return environment[match[1]]


def _pairs(texts: Iterable[str], option: str) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in texts]
    if not all(name and value for name, _, value in pairs):
        raise ConfigError([f"{option}: expected NAME=VALUE"], source="options")  # what was given may be a secret
    return [(name, value) for name, _, value in pairs]


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError([f"--latency: '{text}' is not a number of seconds"], source="options") from None


def _kept_key(path: Path) -> str:
    """Return the key in `path`, made there when it is missing; only its owner can read it."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        key = secrets.token_urlsafe(24)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key)
        return key
