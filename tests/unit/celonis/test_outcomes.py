"""The outcome table, whole: every operation against every answer, as rows of architecture.md, "Errors"."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.celonis.outcomes import LONGEST_HINT, Operation, reaction, wait_hint
from connector.errors import Reaction

CREATE, UPLOAD, EXECUTE, TOKEN = Operation.CREATE, Operation.UPLOAD, Operation.EXECUTE, Operation.TOKEN
LIST, GET, CHUNKS = Operation.LIST, Operation.GET, Operation.CHUNKS
CANCEL, DELETE = Operation.CANCEL, Operation.DELETE
EVERYTHING = tuple(Operation)
REPEATABLE = (LIST, GET, CHUNKS, CANCEL, DELETE, TOKEN)

IN_DOUBT = (0, 300, 301, 302, 307, 308, 408, 500, 501, 502, 504, 520, 599)
REFUSALS = (400, 402, 403, 404, 405, 410, 413, 415, 422, 431, 451)

TABLE: list[tuple[tuple[Operation, ...], tuple[int, ...], Reaction]] = [
    (EVERYTHING, (200, 201, 202, 204), Reaction.PROCEED),
    (EVERYTHING, (429, 503), Reaction.LATER),
    (EVERYTHING, (401,), Reaction.REAUTHORIZE),
    (EVERYTHING, REFUSALS, Reaction.STOP),
    ((EXECUTE,), (409,), Reaction.LATER),
    (tuple(set(EVERYTHING) - {EXECUTE}), (409,), Reaction.STOP),
    ((CREATE,), IN_DOUBT, Reaction.REMAKE),
    ((UPLOAD,), IN_DOUBT, Reaction.COMPARE),
    ((EXECUTE,), IN_DOUBT, Reaction.ASK),
    (REPEATABLE, IN_DOUBT, Reaction.AGAIN),
]
ROWS = [
    (operation, status, asks) for operations, statuses, asks in TABLE for operation in operations for status in statuses
]


@pytest.mark.parametrize(
    ("operation", "status", "asks"), ROWS, ids=[f"{o} answered {s} asks for {a}" for o, s, a in ROWS]
)
def test_what_an_answer_asks_for(operation: Operation, status: int, asks: Reaction) -> None:
    assert reaction(operation, status) is asks


def test_the_table_names_every_operation_with_every_status_once() -> None:
    pairs = [(operation, status) for operation, status, _ in ROWS]
    statuses = {status for _, status in pairs}
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == {(operation, status) for operation in Operation for status in statuses}


@pytest.mark.parametrize("operation", Operation)
def test_a_request_that_never_left_is_sent_again(operation: Operation) -> None:
    assert reaction(operation, 0, connected=False) is Reaction.LATER


@given(st.sampled_from(Operation), st.integers(100, 599).filter(lambda status: not 200 <= status < 300))
def test_only_success_reads_as_success(operation: Operation, status: int) -> None:
    assert reaction(operation, status) is not Reaction.PROCEED


@given(st.one_of(st.just(0), st.integers(500, 599).filter(lambda status: status != 503)))
def test_doubt_about_what_changes_something_never_reads_as_nothing_happened(status: int) -> None:
    for operation in (CREATE, UPLOAD, EXECUTE):
        assert reaction(operation, status) not in (Reaction.LATER, Reaction.AGAIN, Reaction.PROCEED, Reaction.STOP)


NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"x-ratelimit-reset": "7.5"}, 7.5),
        ({"retry-after": "12", "x-ratelimit-reset": "40"}, 40.0),
        ({"retry-after": "50", "x-ratelimit-reset": "40"}, 50.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 3 "}, 3.0),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90.0),
        ({"retry-after": "Thu, 15 Jan 2026 10:31:30 -0000"}, 90.0),
        ({"retry-after": "Thu, 15 Jan 2026 10:31:30"}, 90.0),
        ({"retry-after": format_datetime(NOW - timedelta(days=1), usegmt=True)}, 0.0),
        ({"retry-after": format_datetime(NOW + timedelta(days=9), usegmt=True)}, LONGEST_HINT),
        ({"retry-after": "1e300"}, LONGEST_HINT),
        ({"retry-after": "99999999999999999999"}, LONGEST_HINT),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "NaN"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Thu, 99 Jan 2026 10:31:30 GMT"}, None),
        ({"retry-after": "soon", "x-ratelimit-reset": "4"}, 4.0),
        ({"retry-after": "4", "x-ratelimit-reset": "soon"}, 4.0),
        ({"x-ratelimit-reset": "Thu, 15 Jan 2026 10:31:30 GMT"}, None),
    ],
    ids=str,
)
def test_the_wait_that_an_answer_asks_for(headers: dict[str, str], wait: float | None) -> None:
    assert wait_hint(headers, NOW.timestamp()) == wait


@given(st.dictionaries(st.sampled_from(["retry-after", "x-ratelimit-reset"]), st.text(st.characters(codec="latin-1"))))
def test_no_header_breaks_the_hint_or_makes_it_longer_than_the_hour(headers: dict[str, str]) -> None:
    wait = wait_hint(headers, NOW.timestamp())
    assert wait is None or (math.isfinite(wait) and 0 <= wait <= LONGEST_HINT)


@given(
    st.from_regex(r"(Mon, )?[0-9]{1,6} (Jan|Feb|Foo) [0-9]{1,9} [0-9]{1,3}:[0-9]{1,3}(:[0-9]{1,3})?( [+-][0-9]{1,9})?")
)
def test_no_date_breaks_the_hint(date: str) -> None:
    wait = wait_hint({"retry-after": date}, NOW.timestamp())
    assert wait is None or 0 <= wait <= LONGEST_HINT
