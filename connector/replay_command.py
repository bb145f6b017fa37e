"""Owns the command `replay`: its options, the plan that a person agrees to, and the order of what it shows.

Never decides what may be replayed. Invariant: nothing is pushed before the plan was shown and agreed to, and how what
was agreed to ended, well or not, is told by the exit code and by one JSON document on standard output.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click
import structlog
import yaml

from connector.abandoning import abandon
from connector.core.hours import HOUR
from connector.core.replays import Way
from connector.errors import ConfigError
from connector.progress import Line, Lines
from connector.replayer import Replayer
from connector.replaying import Outline, Request, outline, survey
from connector.summary import Ending, document, line
from connector.text import aligned, counted, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from connector.config import Settings
    from connector.replay import Progress

log = structlog.get_logger()

_MOST_PARTITIONS = 40  # lines of the plan


def request_of(options: dict[str, Any]) -> Request:
    """Return what the options of the command ask for.

    Raises:
        ConfigError: they exclude each other, or say too little.
    """
    possible = (Way.REWIND, Way.REPLACE, Way.INTO, Way.LETTERS)
    ways: list[Way] = [way for way in possible if options[way.value.replace("-", "_")]]
    if len(ways) > 1:
        raise ConfigError([f"give one of {', '.join(f'--{way.value}' for way in ways)}"], source="replay")
    if bool(options["tables"]) == options["all_tables"]:
        raise ConfigError(["name tables, or give --all"], source="replay")
    if options["into"] and "{table}" not in options["into"] and (len(options["tables"]) > 1 or options["all_tables"]):
        raise ConfigError(["several tables need names of their own: --into '{table}_REPLAY'"], source="replay")
    _refuse_without_meaning(options, ways)
    return Request(
        tables=tuple(options["tables"]),
        way=ways[0] if ways else Way.BESIDE,
        start=options["start"],
        end=options["end"],
        into=options["into"],
        share=options["budget_share"],
        allow_empty=options["allow_empty"],
    )


def _refuse_without_meaning(options: dict[str, Any], ways: list[Way]) -> None:
    if options["allow_empty"] and Way.REPLACE not in ways:
        raise ConfigError(["--allow-empty is of --replace"], source="replay")
    if options["budget_share"] and Way.REWIND in ways:
        raise ConfigError(["--rewind takes no pushes of its own: drop --budget-share"], source="replay")
    if options["abandon"] and (options["print_job"] or options["dry_run"]):
        raise ConfigError(["--abandon is done at once: drop --print-job and --dry-run"], source="replay")


def perform(
    settings: Settings, request: Request, options: dict[str, Any], begin: Callable[[], Callable[[], bool]]
) -> Ending:
    """Show the plan, ask, run, and tell; return how it ended.

    `begin` is called once it was agreed to, and tells from then on whether it is to stop: Ctrl-C ends a question.

    Raises:
        ConnectorError: it cannot be, or cannot go on; the hint is the next step.
    """
    found = outline(settings, request, _now())
    for planned in plan_lines(found):
        click.echo(planned, err=True)
    if options["dry_run"]:
        return Ending.DONE
    if not (options["yes"] or _agreed()):
        raise ConfigError(["not agreed to, so nothing was done; --yes agrees beforehand"], source="replay")
    person = sys.stderr.isatty() and not options["quiet"]
    show = _Seen(Line(found.size, _waits(request.way)) if person else Lines(found.size))
    began = time.monotonic()
    replayer = Replayer(settings, found, begin(), show)
    try:
        with show.shown:
            done = replayer.run()
    except Exception as e:
        why, seconds = str(e) or type(e).__name__, time.monotonic() - began
        click.echo(document(found, replayer.ranges, show.progress, Ending.FAILED, seconds=seconds, error=why))
        raise
    ending, seconds = _ending(request.way, done), time.monotonic() - began
    if person:
        click.echo(line(ending, done, seconds), err=True)
    click.echo(document(found, replayer.ranges, done or show.progress, ending, seconds=seconds))
    return ending


class _Seen:
    """Shows how far it is, and remembers it: `progress` is None as long as nothing was read."""

    def __init__(self, shown: Line | Lines) -> None:
        self.shown = shown
        self.progress: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Show it."""
        self.progress = progress
        self.shown(progress)


def _waits(way: Way) -> str:
    return "waiting for the service" if way in (Way.REWIND, Way.REPLACE) else "beginning"


def _ending(way: Way, done: Progress | None) -> Ending:
    if done is None:
        return Ending.INTERRUPTED
    return Ending.ORDERED if way is Way.REWIND and done.awaited else Ending.DONE


def let_go(settings: Settings, request: Request) -> None:
    """Abandon what holds the tables, and tell; raises ConnectorError."""
    for said in abandon(settings, survey(settings, request, _now())):
        click.echo(said)


def _now() -> int:
    return round(time.time() * 1000)


def _agreed() -> bool:
    try:
        return click.confirm("go on?", err=True)
    except click.Abort:  # no terminal, or Ctrl-C
        return False


def plan_lines(found: Outline) -> Iterator[str]:
    """Yield the lines that tell what a replay will do."""
    again = ""
    if found.resumed:
        left = "goes on where it was" if found.size.messages else "all is pushed; --abandon forgets it, to do it anew"
        again = f" (begun before: {left})"
    yield f"replay {found.name}: {found.request.way.value}, from {found.start} to {found.request.end}{again}"
    yield ""
    rows = [("partition", "from", "to", "messages")]
    rows += [(str(tp), str(r.start), str(r.end), f"{r.messages:,}") for tp, r in sorted(found.ranges.items())]
    yield from aligned(rows[: _MOST_PARTITIONS + 1])
    if len(rows) > _MOST_PARTITIONS + 1:
        yield f"and {len(rows) - _MOST_PARTITIONS - 1} more partitions"
    yield ""
    for remark in found.remarks:
        yield from wrapped("note: ", remark)
    for said in found.effects:
        yield from wrapped("effect: ", said)
    yield from _size_lines(found)


def _size_lines(found: Outline) -> Iterator[str]:
    size = found.size
    if found.request.way is Way.REWIND:
        yield f"{size.messages:,} messages are read again by the service, in its pushes"
        return
    what = f"{counted(size.messages, 'message')}, at most as many rows"
    yield f"{what}, about {size.bytes / 1e6:,.1f} MB in Parquet, {counted(size.chunks, 'chunk')}"
    if size.pushes:
        hourly, minutes = size.pushes * HOUR / size.seconds, size.seconds / 60
        waits = f"{minutes:,.0f} min" if minutes >= 1 else "less than a minute"
        yield f"{counted(size.pushes, 'push')} at {hourly:,.1f} an hour: {waits} of waiting for turns at most"


def job_manifest(request: Request, image: str, config: Path) -> str:
    """Return a Kubernetes Job that runs the same command; it finds the file in the ConfigMap of the service."""
    name = "kafka-celonis-replay"
    container = {
        "name": "replay",
        "image": image,
        "args": ["replay", *_arguments(request), "--yes", "--quiet", "--config", "/config/connector.yaml"],
        "envFrom": [{"secretRef": {"name": "kafka-celonis"}}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": "/config", "readOnly": True},
            {"name": "spool", "mountPath": "/spool"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the pod
        ],
        "workingDir": "/spool",
    }
    pod = {
        "restartPolicy": "OnFailure",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": "kafka-celonis"}},
            {"name": "spool", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": f"{name}-"},
        "spec": {"backoffLimit": 6, "template": {"spec": pod}},
    }
    note = f"# The ConfigMap holds {config.name} as connector.yaml, the Secret the variables that it names.\n"
    return note + yaml.safe_dump(job, sort_keys=False)


def _arguments(request: Request) -> Iterator[str]:
    yield from request.tables or ("--all",)
    yield from ("--from", request.start, "--to", request.end)
    if request.way in (Way.REWIND, Way.REPLACE, Way.LETTERS):
        yield f"--{request.way.value}"
    if request.into:
        yield from ("--into", request.into)
    if request.share is not None:
        yield from ("--budget-share", f"{request.share:g}")
    if request.allow_empty:
        yield "--allow-empty"
