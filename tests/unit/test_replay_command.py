"""The command `replay` before it asks Kafka: what excludes each other, what the plan says, and the printed Job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from connector.cli import main, replay
from connector.config import Table
from connector.core.bounds import Bound, Kind, Range
from connector.core.offsets import TopicPartition
from connector.core.replays import Size, Way
from connector.replay_command import job_manifest, plan_lines, request_of
from connector.replaying import Outline, Part, Request

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

POOL = "11111111-2222-3333-4444-555555555555"
ENTRY = Table(topics=["orders"], target="T", format="json")
REQUEST = Request(("T",), Way.INTO, "2h", "latest", into="OTHER")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "connector.yaml"
    document = {
        "kafka": {"brokers": "127.0.0.1:1", "dead_letter_topic": None},
        "celonis": {"team_url": "http://127.0.0.1:1", "pool_id": POOL, "auth": {"app_key": "${KEY}"}},
        "tables": [{"topics": ["orders"], "target": "T", "format": "json"}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def invoke(config: Path, *arguments: str) -> Result:
    return CliRunner(env={"KEY": "s3cr3t"}).invoke(main, ["replay", *arguments, "--config", str(config)])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("T --rewind --replace", "give one of --rewind, --replace"),
        ("T --replace --into OTHER", "give one of --replace, --into"),
        ("", "name tables, or give --all"),
        ("T --all", "name tables, or give --all"),
        ("A B --into OTHER", "several tables need names of their own: --into '{table}_REPLAY'"),
        ("--all --into OTHER", "several tables need names of their own: --into '{table}_REPLAY'"),
        ("T --allow-empty", "--allow-empty is of --replace"),
        ("T --rewind --budget-share 0.5", "drop --budget-share"),
        ("T --abandon --dry-run", "drop --print-job and --dry-run"),
        ("T --budget-share 0", "0"),
        ("T --from 2026-01-31T08:00:00", "names no time zone: write 2026-01-31T08:00:00Z for UTC"),
        ("T --to yesterday", "expected an offset such as 1500, earliest, latest"),
        ("T --from 20 --to 10", "--from 20 is behind --to 10: nothing lies between"),
        ("T --from 1h --to 2h", "--from 1h is behind --to 2h: nothing lies between"),
    ],
)
def test_what_cannot_be_meant_ends_at_once_with_the_way_out(config: Path, arguments: str, said: str) -> None:
    found = invoke(config, *arguments.split())
    assert found.exit_code == 2
    assert said in found.output
    assert "Traceback" not in found.output


REQUESTS = [
    Request(("T",), Way.BESIDE, "earliest", "latest"),
    Request(("T", "U"), Way.REWIND, "2h", "latest"),
    Request((), Way.INTO, "2026-01-31T08:00:00Z", "1500", into="{table}_X", share=0.125),
    Request(("T",), Way.REPLACE, "earliest", "latest", allow_empty=True),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: r.way.value)
def test_the_printed_job_runs_the_same_command_without_asking(request_: Request, tmp_path: Path) -> None:
    job = yaml.safe_load(job_manifest(request_, "registry.local/kafka-celonis:1", tmp_path / "connector.yaml"))
    container = job["spec"]["template"]["spec"]["containers"][0]
    command, *arguments = container["args"]
    with replay.make_context("replay", arguments) as context:
        options: dict[str, Any] = {k: v for k, v in context.params.items() if k != "path"}
    assert (job["kind"], command, container["image"]) == ("Job", "replay", "registry.local/kafka-celonis:1")
    assert request_of(options) == request_
    assert options["yes"]
    assert options["quiet"]


def test_a_job_is_printed_without_any_broker(config: Path) -> None:
    found = invoke(config, "T", "--replace", "--print-job", "image:1")
    assert found.exit_code == 0
    assert yaml.safe_load(found.output)["metadata"]["generateName"] == "kafka-celonis-replay-"


def outline_(**changes: Any) -> Outline:
    partitions = {TopicPartition("orders", n): Range(10, 20) for n in range(2)}
    made = Outline(
        name="0a1b2c3d",
        request=REQUEST,
        start=Bound(Kind.TIME, 1_700_000_000_000),
        parts=(Part(ENTRY, "T", ("orders",), "OTHER"),),
        ranges=partitions,
        remarks=("orders[0]: offset 5 is gone",),
        resumed=False,
        size=Size(20, 4_000_000, 1, 2, 240.0),
        effects=("OTHER takes the range",),
    )
    return made._replace(**changes)


def test_the_plan_tells_ranges_remarks_effects_and_what_it_takes() -> None:
    assert list(plan_lines(outline_())) == [
        "replay 0a1b2c3d: into, from 2023-11-14T22:13:20+00:00 to latest",
        "",
        "partition  from  to  messages",
        "orders[0]    10  20        10",
        "orders[1]    10  20        10",
        "",
        "note: orders[0]: offset 5 is gone",
        "effect: OTHER takes the range",
        "20 messages, at most as many rows, about 4.0 MB in Parquet, 1 chunk",
        "2 pushes at 30.0 an hour: 4 min of waiting for turns at most",
    ]


def test_the_plan_of_what_was_begun_tells_what_is_left() -> None:
    first = next(plan_lines(outline_(resumed=True)))
    over = next(plan_lines(outline_(resumed=True, size=Size(0, 0, 0, 0, 0.0))))
    assert first.endswith("(begun before: goes on where it was)")
    assert over.endswith("(begun before: all is pushed; --abandon forgets it, to do it anew)")


def test_the_plan_of_a_rewind_takes_no_pushes_of_its_own() -> None:
    lines = list(plan_lines(outline_(request=REQUEST._replace(way=Way.REWIND, into=None))))
    assert lines[-1] == "20 messages are read again by the service, in its pushes"


def test_of_many_partitions_the_plan_shows_the_first() -> None:
    many = {TopicPartition("orders", n): Range(0, 1) for n in range(50)}
    assert "and 10 more partitions" in plan_lines(outline_(ranges=many))


def test_nothing_to_push_waits_for_no_turn() -> None:
    lines = list(plan_lines(outline_(size=Size(0, 0, 0, 0, 0.0))))
    assert lines[-1] == "0 messages, at most as many rows, about 0.0 MB in Parquet, 0 chunks"
