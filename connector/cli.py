"""Owns the command line: it reads options and settings, hands them over, and turns errors into exit codes.

Never decides anything. Invariant: every error that a person can act on ends as one line with its hint, without a stack.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from connector import __version__
from connector.config_file import effective, json_schema, load
from connector.ending import EXIT_CHECK, EXIT_INTERRUPTED, EXIT_ORDERED, Stop, exit_code, last_line
from connector.errors import ConfigError, ConnectorError
from connector.observe.logs import configure_logs
from connector.options import read_bytes, read_rates, read_seconds

if TYPE_CHECKING:
    from connector.config import Settings


class _Commands(click.Group):
    """Turns the errors of this product into exit codes; `emulator` is fetched when asked for, since it is an extra."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "emulator"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "emulator":
            return super().get_command(ctx, cmd_name)
        try:
            from connector.emulator.command import emulator  # noqa: PLC0415 - needs the extra
        except ImportError as e:
            return _missing_extra(e)
        return emulator

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except ConnectorError as e:
            click.echo(f"kafka-celonis: {e}", err=True)
            sys.exit(exit_code(e))


_END = "An offset, earliest, latest, a time with its zone, or a duration ago."

config_option = click.option(
    "--config",
    "-c",
    "path",
    type=click.Path(path_type=Path),
    default=Path("config/connector.yaml"),
    envvar="KAFKA_CELONIS_CONFIG",
    show_default=True,
    help="The configuration file.",
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kafka-celonis")
def main() -> None:
    """Stream Kafka topics into Celonis tables, within the team's budget of pushes."""


@main.command()
@config_option
def run(path: Path) -> None:
    """Stream until SIGTERM, then drain."""
    from connector.service import Service  # noqa: PLC0415 - help and config need no Kafka client

    stop = Stop()
    with last_line("auto"):
        settings = _settings(path)
    with last_line(settings.observe.log_format), Service(settings) as service:
        service.run(stop.requested)


@main.command()
@config_option
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@click.option("--all", "all_tables", is_flag=True, help="All tables of the configuration.")
@click.option("--from", "start", default="earliest", show_default=True, metavar="END", help=_END)
@click.option("--to", "end", default="latest", show_default=True, metavar="END", help="The same; not read any more.")
@click.option("--rewind", is_flag=True, help="The running service reads the range again, in order.")
@click.option("--into", metavar="TABLE", help="Into another table, beside the running service; {table} is its name.")
@click.option("--replace", is_flag=True, help="Build the table anew and swap it; its live pushes are held meanwhile.")
@click.option("--dead-letters", is_flag=True, help="The table's dead letters, as the messages they were.")
@click.option("--budget-share", type=click.FloatRange(0, 1, min_open=True), help="Of the pushes of an hour.")
@click.option("--allow-empty", is_flag=True, help="--replace by no rows at all.")
@click.option("--dry-run", is_flag=True, help="Show the plan, and end there.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--quiet", is_flag=True, help="Log lines instead of a progress bar.")
@click.option("--abandon", is_flag=True, help="Forget a replay that does not come back, and let go of its tables.")
@click.option("--print-job", metavar="IMAGE", help="Print a Kubernetes Job that does it, with this image.")
def replay(path: Path, **options: Any) -> None:  # noqa: ANN401 - as many as there are options
    """Push a past range of topics again. What is interrupted goes on with the same command."""
    from connector import replay_command  # noqa: PLC0415 - as above

    settings, request = _settings(path), replay_command.request_of(options)
    if options["abandon"]:
        replay_command.let_go(settings, request)
    elif options["print_job"]:
        click.echo(replay_command.job_manifest(request, options["print_job"], path), nl=False)
    else:
        ended = replay_command.perform(settings, request, options, lambda: Stop().requested)
        sys.exit({"done": 0, "interrupted": EXIT_INTERRUPTED, "ordered": EXIT_ORDERED}[ended])


@main.command()
@config_option
def check(path: Path) -> None:
    """Try everything that `run` needs, one line each."""
    from connector.check import run_checks  # noqa: PLC0415 - as above

    failed = 0
    for result in run_checks(_settings(path)):
        failed += not result.ok
        click.echo(f"{'pass' if result.ok else 'FAIL'}  {result.name}: {result.detail}")
        if result.fix:
            click.echo(f"      {result.fix}")
    sys.exit(EXIT_CHECK if failed else 0)


@main.command()
@config_option
def budget(path: Path) -> None:
    """Show this hour's budget: spent by table and replica, left, the next slot."""
    from connector.spending import spending  # noqa: PLC0415 - as above

    for line in spending(_settings(path)):
        click.echo(line)


@main.command()
@config_option
def intents(path: Path) -> None:
    """List the group's open intents: partitions that a job carries, and the state of the job."""
    from connector.inspection import open_intents  # noqa: PLC0415 - as above

    lines = [
        f"{i.at}  {i.offset}..{'?' if i.end is None else i.end}  {f'job {i.job}: ' if i.job else ''}{i.state}"
        for i in open_intents(_settings(path))
    ]
    click.echo("\n".join(lines) or "no open intents: every job that was executed is committed")


@main.command()
@config_option
def status(path: Path) -> None:
    """Tell what stands still in the service on this machine, why, and the way out."""
    from connector.inspection import read_status  # noqa: PLC0415 - as above

    found = read_status(_settings(path).observe)
    troubles = found.pop("troubles")
    for name, value in found.items():
        click.echo(f"{name}: {_in_line(value)}")
    for what, reason in troubles.items() if isinstance(troubles, dict) else ():
        click.echo(f"{what}: {reason}")
    sys.exit(EXIT_CHECK if troubles else 0)


def _in_line(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items()) or "none"
    return ("; ".join(value) or "none") if isinstance(value, list) else str(value)


@main.command()
@config_option
@click.option(
    "--rate",
    "rates",
    multiple=True,
    metavar="NAME=N",
    callback=read_rates,
    help="Records per second of a topic, or of all topics of a table; may be repeated.",
)
@click.option(
    "--record-bytes",
    default="200",
    callback=read_bytes,
    show_default=True,
    help="Size of a message of which none was seen.",
)
@click.option(
    "--window", default="1h", callback=read_seconds, show_default=True, help="How far back rates are measured."
)
@click.option(
    "--service",
    default="5s",
    callback=read_seconds,
    show_default=True,
    help="What a push takes, from the flush to DONE.",
)
@click.option(
    "--parquet-ratio",
    type=click.FloatRange(0, min_open=True),
    help="Size of a row in Parquet by that of its message  [default: 0.2 for JSON, 0.5 for Avro]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(path: Path, *, as_json: bool, **assumed: Any) -> None:  # noqa: ANN401 - what the options are called there
    """Tell how often tables will be pushed, how stale they get, and what cannot be met.

    Rates come from the topics, by their offsets over time. Where --rate names every topic or table, no broker is asked;
    of a regular expression it names the topics there will be.
    """
    from connector.plan_text import document, text  # noqa: PLC0415 - as above
    from connector.planning import Assumptions, outlook  # noqa: PLC0415 - as above

    told = Assumptions(**assumed)
    found = outlook(_settings(path), told)
    click.echo(document(found) if as_json else "\n".join(text(found, told)))
    sys.exit(0 if all(f.met for f in found.findings) else EXIT_CHECK)


@main.command()
@click.option("--seconds", type=float, default=20.0, show_default=True, help="How long messages are produced.")
@click.option("--forever", is_flag=True, help="Until Ctrl-C.")
def demo(seconds: float, *, forever: bool) -> None:
    """Stream a purchase-to-pay process through embedded parts, and check the tables."""
    try:
        from connector.demo.run import run as run_demo  # noqa: PLC0415 - needs the extra
    except ImportError as e:
        raise _missing(e) from None
    sys.exit(run_demo(None if forever else seconds))


@main.group("config")
def config_() -> None:
    """Look at the configuration."""


@config_.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))


@config_.command()
@config_option
def show(path: Path) -> None:
    """Print the effective settings, secrets masked."""
    click.echo(effective(load(path)), nl=False)


def _settings(path: Path) -> Settings:
    settings = load(path)
    configure_logs(settings.observe.log_format, settings.observe.log_level, sys.stderr)
    return settings


def _missing(error: ImportError) -> ConfigError:
    return ConfigError(
        [f"{error.name} is not installed: pip install 'kafka-celonis-connector[emulator]'"], source="installation"
    )


def _missing_extra(error: ImportError) -> click.Command:
    """Return a command that says what is not installed, so that the help of the others still works."""

    @click.command("emulator", add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("args", nargs=-1)
    def missing(args: tuple[str, ...]) -> None:  # noqa: ARG001 - whatever was asked
        """Answer the Data Push API (not installed)."""
        raise _missing(error)

    return missing
