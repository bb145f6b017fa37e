"""Owns what a replay would do, from the command's words: which topics, which ranges, whether it may be, how large.

Never changes anything, never shows anything and never asks a person. Invariant: what is refused is refused here, before
anything is done, and what is foretold is what is left to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from connector.assembly import replay_rate
from connector.core import replays
from connector.core.bounds import Bound, Kind, Range, parse_bound
from connector.core.names import safe_name
from connector.core.replays import Subject, Way, effect, name_of, objection, size_of
from connector.errors import ConfigError
from connector.kafka import kept
from connector.kafka.crowd import prefix_of_replays
from connector.kafka.group import committed_offsets
from connector.kafka.ranges import resolve
from connector.kafka.rates import measure
from connector.planning import PARQUET_RATIO
from connector.routing import Routes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from connector.config import Settings, Table
    from connector.core.offsets import TopicPartition
    from connector.core.replays import Size

_UNSEEN_BYTES = 200.0  # of a message, where none was seen
_TABLE = "{table}"  # stands for the table's name in --into
_LOAD_ROWS = 2_000_000  # to choose the last row of each key takes some 40 bytes of memory a row
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


class Survey(NamedTuple):
    """The tables and ranges that a command means now, its ends, and all tables that the configuration fills."""

    name: str
    request: Request
    start: Bound
    end: Bound
    parts: tuple[Part, ...]
    ranges: Mapping[TopicPartition, Range]
    remarks: tuple[str, ...]
    live: Collection[str]


class Outline(NamedTuple):
    """What a replay would do: `resumed` where an earlier run has begun it, `size` of what is left, as thought."""

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
    return f"{prefix_of_replays(group)}{name}"


def outline(settings: Settings, request: Request, now: int) -> Outline:
    """Return what the replay would do, at `now` (milliseconds since the epoch).

    Raises:
        ConfigError: an end, a table or the way cannot be; with the way out.
        SourceError: Kafka does not answer, or not to us.
    """
    found = survey(settings, request, now)
    subjects = [_subject(found, part) for part in found.parts]
    if problems := [p for s in subjects if (p := objection(request.way, s))]:
        raise ConfigError(problems, source="replay")
    before = kept.kept(settings.kafka, group_of_replay(settings.kafka.group, found.name))
    ranges = before.ranges if before else found.ranges
    size = _size(settings, found, _left(settings, found, ranges) if before else ranges)
    return Outline(
        name=found.name,
        request=request,
        start=found.start,
        parts=found.parts,
        ranges=ranges,
        remarks=(*(() if before else found.remarks), *_doubts(settings, request, size)),
        resumed=before is not None,
        size=size,
        effects=tuple(effect(request.way, subject) for subject in subjects),
    )


def survey(settings: Settings, request: Request, now: int) -> Survey:
    """Return what the command means at `now` (milliseconds since the epoch), whether or not it may be.

    Raises:
        ConfigError: an end or a table cannot be; with the way out.
        SourceError: Kafka does not answer, or not to us.
    """
    start, end = _bound("--from", request.start, now), _bound("--to", request.end, now)
    if start.kind is end.kind and start.value > end.value:
        problem = f"--from {request.start} is behind --to {request.end}: nothing lies between"
        raise ConfigError([problem], source="replay")
    routes = Routes(settings.tables)
    wanted = {table.lower() for table in request.tables}
    found = resolve(settings.kafka, routes.topics, start, end, lambda topic: takes(routes, topic, wanted))
    parts = tuple(_parts(routes, request, {tp.topic for tp in found.partitions}))
    if request.way is Way.LETTERS:
        topic = _letters(settings, parts)
        found = resolve(settings.kafka, [topic], start, end)
        parts = tuple(part._replace(topics=(topic,)) for part in parts)
    name = name_of(request.way, tuple(p.table for p in parts), request.start, request.end, request.into or "")
    live = {table.lower() for _, table in routes.known}
    return Survey(name, request, start, end, parts, found.ranges, tuple(found.remarks), live)


def _letters(settings: Settings, parts: Sequence[Part]) -> str:
    """Return the topic of the dead letters."""
    topic = settings.kafka.dead_letter_topic
    if topic is None:
        raise ConfigError(["kafka.dead_letter_topic is null: nothing was kept"], source="replay")
    if len(parts) != 1:
        raise ConfigError(["--dead-letters takes one table at a time"], source="replay")
    return topic


def takes(routes: Routes, topic: str, wanted: Collection[str]) -> bool:
    """Return whether `topic` goes to one of the tables `wanted` (in lower case), or to any where none is."""
    try:
        table = routes.route(topic)[1]
    except ConfigError:
        return False
    return not wanted or table.lower() in wanted


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
        known = ", ".join(sorted(table for _, table in routes.known)) or "none whose topic is there"
        raise ConfigError([f"{', '.join(unknown)}: no table of the configuration: there are {known}"], source="replay")
    return [
        Part(entry, table, tuple(names), safe_name((request.into or _TABLE).replace(_TABLE, table)))
        for entry, table, names in (found[name] for name in dict.fromkeys(wanted))
    ]


def _subject(found: Survey, part: Part) -> Subject:
    entry, whole = part.entry, (found.start.kind is Kind.EARLIEST, found.end.kind is Kind.LATEST)
    return Subject(part.table, part.target, part.target.lower() in found.live, entry.append, bool(entry.keys), *whole)


def _left(settings: Settings, found: Survey, ranges: Mapping[TopicPartition, Range]) -> Mapping[TopicPartition, Range]:
    """Return what earlier runs of the same command have not brought to its end."""
    done = progress_of(settings, found.name, ranges)
    return {tp: Range(min(max(r.start, done.get(tp, r.start)), r.end), r.end) for tp, r in ranges.items()}


def progress_of(settings: Settings, name: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the offsets up to which the replay `name` is done, of partitions that no open job of it carries."""
    kafka = settings.kafka.model_copy(update={"group": group_of_replay(settings.kafka.group, name)})
    committed = committed_offsets(kafka, sorted({tp.topic for tp in partitions}))
    return {tp: c.offset for tp, c in committed.items() if not c.metadata}


def _size(settings: Settings, found: Survey, ranges: Mapping[TopicPartition, Range]) -> Size:
    """Foretell it by the size of the latest messages of each topic."""
    request = found.request
    rates, _ = measure(settings.kafka, [topic for part in found.parts for topic in part.topics], 60.0)
    seen = {r.topic: r.message_bytes for r in rates if r.message_bytes is not None}
    return size_of(
        [_part_size(part, ranges, seen) for part in found.parts],
        chunk_bytes=settings.spool.chunk_bytes,
        load=None if request.way is Way.REPLACE else load_of(settings),
        per_hour=1.0 if request.way is Way.REWIND else replay_rate(settings, share_of(settings, request)),
    )


def _part_size(part: Part, ranges: Mapping[TopicPartition, Range], seen: Mapping[str, float]) -> replays.Part:
    ratio = PARQUET_RATIO[part.entry.format]
    read = {tp: r.messages for tp, r in ranges.items() if tp.topic in part.topics}
    return replays.Part(
        sum(read.values()), sum(n * seen.get(tp.topic, _UNSEEN_BYTES) * ratio for tp, n in read.items())
    )


def _doubts(settings: Settings, request: Request, size: Size) -> Iterator[str]:
    if request.way is Way.REPLACE and 2 * size.bytes > settings.spool.bytes:
        yield "all of it must find place in the spool, twice where rows have keys: see whether spool.bytes is enough"


def share_of(settings: Settings, request: Request) -> float:
    """Return the part of the budget that the replay may take."""
    return settings.budget.replay_share if request.share is None else request.share


def load_of(settings: Settings) -> replays.Load:
    """Return when a load of a replay is closed: few pushes, place for several in the spool, and memory in bounds."""
    return replays.Load(_LOAD_ROWS, max(settings.spool.bytes // _PARTS, 1))
