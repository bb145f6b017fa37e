"""What a replay may do, what it is called, and how large it is thought to be: rows that read as sentences."""

from __future__ import annotations

import pytest

from connector.core.replays import Load, Part, Subject, Way, effect, name_of, objection, rate_beside, size_of

KEYED = Subject("T", "T", live=True, append=False, keyed=True, from_start=True, to_end=True)
APPEND = KEYED._replace(append=True, keyed=False)
LOG = KEYED._replace(keyed=False)
ELSEWHERE = KEYED._replace(target="OTHER", live=False)
REPLACED = "all rows of T are replaced at once; its pushes are held until then"


@pytest.mark.parametrize(
    ("way", "subject", "reason"),
    [
        (Way.BESIDE, APPEND, "T appends: its rows would be there twice"),
        (Way.BESIDE, KEYED, "would overwrite newer ones"),
        (Way.BESIDE, LOG, None),
        (Way.BESIDE, LOG._replace(to_end=False), None),
        (Way.INTO, KEYED, "--into T: the service fills that table"),
        (Way.INTO, APPEND, "--into T: the service fills that table"),
        (Way.INTO, ELSEWHERE, None),
        (Way.INTO, ELSEWHERE._replace(append=True, keyed=False, to_end=False), None),
        (Way.LETTERS, KEYED, "may be older than the row that its key has now"),
        (Way.LETTERS, APPEND, "T appends: a dead letter that is a row already would be there twice. --replace"),
        (Way.LETTERS, APPEND._replace(to_end=False), "; --into OTHER_TABLE"),
        (Way.LETTERS, LOG, None),
        (Way.LETTERS, LOG._replace(to_end=False), None),
        (Way.REWIND, APPEND, "T appends: its rows would be there twice"),
        (Way.REWIND, KEYED._replace(to_end=False), "drop --to"),
        (Way.REWIND, KEYED._replace(from_start=False), None),
        (Way.REPLACE, KEYED._replace(to_end=False), "after the end of the range would be gone"),
        (Way.REPLACE, APPEND._replace(from_start=False), None),
    ],
)
def test_what_could_overwrite_or_double_rows_is_refused(way: Way, subject: Subject, reason: str | None) -> None:
    found = objection(way, subject)
    assert (found is None) if reason is None else (found is not None and reason in found)


@pytest.mark.parametrize(
    ("way", "subject", "said"),
    [
        (Way.BESIDE, LOG, "rows of T are upserted by their Kafka coordinates: what is there stays, what is not comes"),
        (Way.INTO, ELSEWHERE, "OTHER takes the range; T and its service go on untouched"),
        (Way.INTO, ELSEWHERE._replace(append=True), "OTHER appends the range; T and its service go on untouched"),
        (Way.LETTERS, LOG, "dead letters of T become its rows; what is refused again is a dead letter again"),
        (Way.REPLACE, KEYED, REPLACED),
        (
            Way.REPLACE,
            KEYED._replace(from_start=False),
            f"{REPLACED}; rows from before the range are gone then",
        ),
        (
            Way.REWIND,
            KEYED,
            "rows of T go back to what they were at the start of the range, and forward again to now",
        ),
    ],
)
def test_what_happens_to_the_target_is_one_sentence(way: Way, subject: Subject, said: str) -> None:
    assert effect(way, subject) == said


def test_the_same_command_has_the_same_name_and_another_one_has_not() -> None:
    name = name_of(Way.INTO, ("A", "B"), "earliest", "latest", "{table}_X")
    assert name == name_of(Way.INTO, ("B", "A"), "earliest", "latest", "{table}_X")
    others = {
        name_of(Way.REPLACE, ("A", "B"), "earliest", "latest", "{table}_X"),
        name_of(Way.INTO, ("A",), "earliest", "latest", "{table}_X"),
        name_of(Way.INTO, ("A", "B"), "0", "latest", "{table}_X"),
        name_of(Way.INTO, ("A", "B"), "earliest", "9", "{table}_X"),
        name_of(Way.INTO, ("A", "B"), "earliest", "latest", "{table}_Y"),
    }
    assert len(others - {name}) == 5


@pytest.mark.parametrize(
    ("tables", "load", "chunks", "pushes"),
    [
        ([Part(1000, 10_000.0)], Load(600, 4_000), 10, 3),
        ([Part(1000, 10_000.0)], None, 10, 1),
        ([Part(1000, 10_000.0), Part(1, 10.0)], None, 11, 2),
        ([Part(1, 10.0), Part(0, 0.0)], Load(600, 4_000), 1, 1),
        ([Part(0, 0.0)], None, 0, 0),
        ([], Load(600, 4_000), 0, 0),
        ([Part(1000, 100.0)], Load(600, 4_000), 1, 2),
    ],
)
def test_pushes_follow_from_bytes_and_no_table_with_messages_takes_less_than_one(
    tables: list[Part], load: Load | None, chunks: int, pushes: int
) -> None:
    found = size_of(tables, chunk_bytes=1_000, load=load, per_hour=10.0)
    assert (found.chunks, found.pushes, found.seconds) == (chunks, pushes, pushes * 360.0)
    assert (found.messages, found.bytes) == (sum(t.messages for t in tables), sum(t.bytes for t in tables))


@pytest.mark.parametrize(
    ("wanted", "per_hour", "service", "replays", "rate"),
    [
        (60, 240, True, 0, 10),  # what a service leaves of the team's pushes
        (60, 240, True, 1, 5),
        (60, 240, False, 0, 60),  # nobody else: what it may have
        (240, 240, False, 2, 80),
        (5, 240, True, 0, 5),
        (60, 250, True, 0, 0),
    ],
)
def test_a_paced_replay_takes_its_part_of_what_others_leave(
    wanted: float,
    per_hour: float,
    service: bool,  # noqa: FBT001
    replays: int,
    rate: float,
) -> None:
    assert rate_beside(wanted, per_hour, service=service, replays=replays) == rate
