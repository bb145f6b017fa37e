"""Owns a replay from the command's words to its end: which topics, which ranges, whether it may be, and the steps.

Never shows anything and never asks a person. Invariant: the steps of each way are in an order in which a death between
any two of them loses nothing: the same command goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import structlog

from connector.assembly import make_replay_budget
from connector.config_tables import Flush
from connector.core.bounds import Bound, Kind, parse_bound
from connector.core.replays import Subject, Way, effect, name_of, objection, size_of
from connector.errors import ConfigError, ConnectorError
from connector.handover import Handover
from connector.kafka import kept
from connector.kafka.alone import replay_settings, wait_until_alone
from connector.kafka.group import committed_offsets
from connector.kafka.ranges import resolve
from connector.kafka.rates import measure
from connector.planning import PARQUET_RATIO
from connector.replay import Progress, Replay
from connector.routing import Routes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from connector.config import Settings, Table
    from connector.core.bounds import Range
    from connector.core.offsets import TopicPartition
    from connector.core.replays import Size

log = structlog.get_logger()

_NEVER = 10**12  # records, seconds: never reached
_UNSEEN_BYTES = 200.0  # of a message, where none was seen
_TABLE = "{table}"  # stands for the table's name in --into
_PARTS = 4  # loads for which the spool has place


class Request(NamedTuple):
    """What a person asks for; no `tables` means all. `share` is the part of the budget, 0 to 1."""

    tables: tuple[str, ...]
    way: Way
    start: str
    end: str
    into: str | None = None
    share: float | None = None
    allow_empty: bool = False


class Part(NamedTuple):
    """One table of a replay: its entry in the configuration, its name, its topics, and where its rows go."""

    entry: Table
    table: str
    topics: tuple[str, ...]
    target: str


class Outline(NamedTuple):
    """What a replay would do: `resumed` where an earlier run has begun it, `size` as thought."""

    name: str
    request: Request
    start: Bound
    parts: tuple[Part, ...]
    ranges: Mapping[TopicPartition, Range]
    remarks: tuple[str, ...]
    resumed: bool
    size: Size
    effects: tuple[str, ...]


def group_of_replay(group: str, name: str) -> str:
    """Return the consumer group in which the replay `name` keeps its progress."""
    return f"{group}.replay.{name}"


def outline(settings: Settings, request: Request, now: int) -> Outline:
    """Return what the replay would do, at `now` (milliseconds since the epoch).

    Raises:
        ConfigError: an end, a table or the way cannot be; with the way out.
        SourceError: Kafka does not answer, or not to us.
    """
    start, end = _bound("--from", request.start, now), _bound("--to", request.end, now)
    routes = Routes(settings.tables)
    wanted = {table.lower() for table in request.tables}
    found = resolve(settings.kafka, routes.topics, start, end, lambda topic: _belongs(routes, topic, wanted))
    parts = tuple(_parts(routes, request, {tp.topic for tp in found.partitions}))
    subjects = [_subject(part, start, end) for part in parts]
    if problems := [p for s in subjects if (p := objection(request.way, s))]:
        raise ConfigError(problems, source="replay")
    name = name_of(request.way, tuple(p.table for p in parts), request.start, request.end, request.into or "")
    before = kept.kept(settings.kafka, group_of_replay(settings.kafka.group, name))
    ranges = before.ranges if before else found.ranges
    return Outline(
        name=name,
        request=request,
        start=start,
        parts=parts,
        ranges=ranges,
        remarks=tuple(found.remarks),
        resumed=before is not None,
        size=_size(settings, request, parts, ranges),
        effects=tuple(effect(request.way, s, p.target) for s, p in zip(subjects, parts, strict=True)),
    )


def _belongs(routes: Routes, topic: str, wanted: Collection[str]) -> bool:
    try:
        return not wanted or routes.route(topic)[1].lower() in wanted
    except ConfigError:
        return False


def _bound(option: str, text: str, now: int) -> Bound:
    try:
        return parse_bound(text, now)
    except ValueError as e:
        raise ConfigError([str(e)], source=option) from None


def _parts(routes: Routes, request: Request, topics: Collection[str]) -> Sequence[Part]:
    found: dict[str, tuple[Table, str, list[str]]] = {}
    for topic in sorted(topics):
        entry, table = routes.route(topic)
        found.setdefault(table.lower(), (entry, table, []))[2].append(topic)
    wanted = [table.lower() for table in request.tables] or list(found)
    if unknown := [t for t in request.tables if t.lower() not in found]:
        known = ", ".join(sorted(table for _, table, _ in found.values()))
        raise ConfigError([f"{', '.join(unknown)}: no table of the configuration: there are {known}"], source="replay")
    return [
        Part(entry, table, tuple(names), (request.into or _TABLE).replace(_TABLE, table))
        for entry, table, names in (found[name] for name in dict.fromkeys(wanted))
    ]


def _subject(part: Part, start: Bound, end: Bound) -> Subject:
    entry = part.entry
    return Subject(part.table, entry.append, bool(entry.keys), start.kind is Kind.EARLIEST, end.kind is Kind.LATEST)


def _size(settings: Settings, request: Request, parts: Sequence[Part], ranges: Mapping[TopicPartition, Range]) -> Size:
    """Foretell it by the size of the latest messages of each topic."""
    topics = {topic: part for part in parts for topic in part.topics}
    rates, _ = measure(settings.kafka, list(topics), 60.0)
    seen = {r.topic: r.message_bytes for r in rates if r.message_bytes is not None}
    messages = sum(r.messages for r in ranges.values())
    total = sum(
        r.messages * seen.get(tp.topic, _UNSEEN_BYTES) * PARQUET_RATIO[topics[tp.topic].entry.format]
        for tp, r in ranges.items()
    )
    return size_of(
        messages,
        total / messages if messages else 0.0,
        chunk_bytes=settings.spool.chunk_bytes,
        load_bytes=load_bytes(settings),
        per_hour=settings.budget.pushes_per_hour * share_of(settings, request),
        one_push=request.way is Way.REPLACE,
    )


def share_of(settings: Settings, request: Request) -> float:
    """Return the part of the budget that the replay may take."""
    return settings.budget.replay_share if request.share is None else request.share


def load_bytes(settings: Settings) -> int:
    """Return the bytes at which a load of a replay is closed: few pushes, and place for several in the spool."""
    return max(settings.spool.bytes // _PARTS, 1)


# --- the steps of each way ----------------------------------------------------------------------------------------


class Replayer:
    """Runs what an outline says; `stopping` ends it early, `show` is told how far it is."""

    def __init__(
        self, settings: Settings, found: Outline, stopping: Callable[[], bool], show: Callable[[Progress], None]
    ) -> None:
        self._settings, self._found, self._stopping, self._show = settings, found, stopping, show
        self._group = group_of_replay(settings.kafka.group, found.name)
        self._handover = Handover(settings.kafka, found.name, stopping)

    def run(self) -> Progress | None:
        """Run to the end; None where it was stopped before, and goes on with the same command.

        Raises:
            ConnectorError: it cannot go on; the hint is the next step.
        """
        match self._found.request.way:
            case Way.REWIND:
                return self._rewind()
            case Way.REPLACE:
                return self._replace()
            case _:
                return self._push(self._kept(self._found.ranges))

    def _rewind(self) -> Progress:
        starts = {tp: r.start for tp, r in self._found.ranges.items()}
        if not self._handover.rewind(starts):
            log.warning("no service runs: it reads again at its next start", group=self._settings.kafka.group)
        return Progress(sum(r.messages for r in self._found.ranges.values()))

    def _replace(self) -> Progress | None:
        found = self._found
        held = self._handover.hold(found.ranges)
        try:
            ranges = found.ranges if found.resumed else self._kept(self._whole(held))
        except ConnectorError:
            self._handover.release(found.ranges)
            raise
        if not any(r.messages for r in ranges.values()) and not found.request.allow_empty:
            self._handover.release(ranges)
            kept.forget(self._settings.kafka, self._group)
            raise ConnectorError("the range is empty, and so would be the table", hint="if it should, --allow-empty")
        done = self._push(ranges, last=False)
        if done is not None:
            if not self._handover.resume({tp: r.end for tp, r in ranges.items()}):
                log.warning("no service runs: it goes on behind the range at its next start")
            kept.forget(self._settings.kafka, self._group)
        return done

    def _whole(self, held: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, Range]:
        """Return the ranges up to now: what the service pushed before it stood still is among it."""
        found, kafka = self._found, self._settings.kafka
        if not held and any(c.metadata for c in committed_offsets(kafka, self._topics).values()):
            raise ConnectorError(
                "a push of the service is not over, and no service runs that could end it",
                hint="start the service until `kafka-celonis intents` shows none, then give the same command again",
            )
        fresh = resolve(kafka, self._topics, found.start, Bound(Kind.LATEST)).ranges
        return {tp: r._replace(end=max(r.end, held.get(tp, 0))) for tp, r in fresh.items()}

    @property
    def _topics(self) -> list[str]:
        return sorted({tp.topic for tp in self._found.ranges})

    def _kept(self, ranges: Mapping[TopicPartition, Range]) -> Mapping[TopicPartition, Range]:
        if not self._found.resumed:
            kept.begin(self._settings.kafka, self._group, kept.Plan(self._found.name, ranges))
        return ranges

    def _push(self, ranges: Mapping[TopicPartition, Range], *, last: bool = True) -> Progress | None:
        settings, request = derived(self._settings, self._found), self._found.request
        share = share_of(self._settings, request)
        wait_until_alone(settings.kafka)
        with Replay(
            settings,
            ranges,
            lambda clock, parts: make_replay_budget(self._settings, settings.kafka.group, share, clock, parts),
            replace=request.way is Way.REPLACE,
        ) as replay:
            if not replay.run(self._stopping, self._show):
                return None
        if last:
            kept.forget(self._settings.kafka, self._group)
        return replay.progress


def derived(settings: Settings, found: Outline) -> Settings:
    """Return the settings of the replay: its own group and directory, its tables, and loads that are closed by size."""
    size = _NEVER * 1000 if found.request.way is Way.REPLACE else load_bytes(settings)
    flush = Flush.model_construct(records=_NEVER, bytes=size, age=float(_NEVER))
    tables = [
        p.entry.model_copy(update={"topics": list(p.topics), "target": p.target, "flush": flush}) for p in found.parts
    ]
    kafka = replay_settings(settings.kafka, group_of_replay(settings.kafka.group, found.name))
    spool = settings.spool.model_copy(update={"directory": settings.spool.directory / f"replay-{found.name}"})
    return settings.model_copy(update={"kafka": kafka, "tables": tables, "spool": spool})
