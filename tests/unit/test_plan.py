"""`kafka-celonis plan` with given rates, which needs no broker: what it prints, and how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from connector.cli import main
from connector.text import WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    Plan = Callable[..., Result]

NOWHERE = "127.0.0.1:1"
ORDERS = {"topics": ["orders", "old-orders"], "target": "ORDERS", "format": "json", "keys": ["id"]}
EVENTS = {"topics": ["events"], "format": "avro"}
SENSORS = {"topics": ["^sensor\\."], "target": "SENSORS", "format": "json"}
EACH = {"topics": ["^raw\\."], "target": "RAW_{topic}", "format": "json"}


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    """Return a way to run the command on tables, with options; `changes` go to the top level of the configuration."""

    def run(tables: list[dict[str, Any]], *options: str, **changes: Any) -> Result:
        document = {
            "kafka": {"brokers": NOWHERE},
            "celonis": {
                "team_url": "https://team.eu-1.celonis.cloud",
                "pool_id": "11111111-2222-3333-4444-555555555555",
                "auth": {"app_key": "${KEY}"},
            },
            "schema_registry": {"url": f"http://{NOWHERE}"},
            "tables": tables,
        }
        path = tmp_path / "connector.yaml"
        path.write_text(yaml.safe_dump(document | changes))
        return CliRunner(env={"KEY": "secret"}).invoke(main, ["plan", "-c", str(path), *options])

    return run


def rates(*given: str) -> list[str]:
    return [word for rate in given for word in ("--rate", rate)]


def tables(result: Result) -> dict[str, dict[str, Any]]:
    return {table["table"]: table for table in json.loads(result.stdout)["tables"]}


def test_a_plan_is_a_table_and_what_is_to_be_said_of_it(planned: Plan) -> None:
    result = planned([ORDERS, EVENTS], *rates("orders=100", "old-orders=20", "events=1000"))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "budget: 240 pushes an hour, one every 15 s; a push takes 5 s (--service)"
    assert "0.2 (json), 0.5 (avro)" in lines[1]
    assert lines[2] == "rates: as given; 200 B a message where none was seen (--record-bytes)"
    names = ["table", "ORDERS", "events", "all, weighted", "at fixed intervals"]
    assert [line[:18].strip() for line in lines[4:9]] == names
    assert lines[5].split()[1:4] == ["120", "1", "60"]
    assert "note: 120 pushes an hour are not needed" in lines
    assert "  help: flush.age may go down to 38 s" in lines


def test_every_line_fits_whatever_the_names_and_numbers(planned: Plan) -> None:
    crowd = [{"topics": [f"{'long-' * 10}{n}"], "format": "json", "max_staleness": 30} for n in range(12)]
    result = planned(crowd, *rates(*[f"{'long-' * 10}{n}={7.0**n}" for n in range(12)]))
    assert result.exit_code == 3
    assert max(map(len, result.stdout.splitlines())) <= WIDTH
    assert "…g_11 " in result.stdout


def test_what_cannot_be_met_comes_first_and_ends_with_3(planned: Plan) -> None:
    result = planned([ORDERS | {"max_staleness": 10}, EVENTS], *rates("ORDERS=5", "events=0"))
    assert result.exit_code == 3
    kinds = [line.partition(":")[0] for line in result.stdout.splitlines() if line.startswith(("cannot:", "note:"))]
    assert kinds == ["cannot", "note"]
    assert "cannot: max_staleness of ORDERS is too short" in result.stdout
    assert "note: no messages for events" in result.stdout


def test_a_starved_table_has_no_end(planned: Plan) -> None:
    asked = [ORDERS | {"max_staleness": 10}, EVENTS]
    given = rates("ORDERS=5", "events=5")
    assert "never" in planned(asked, *given).stdout
    assert tables(planned(asked, "--json", *given))["events"]["worst_seconds"] is None


def test_the_document_has_the_numbers(planned: Plan) -> None:
    options = ["--json", "--record-bytes", "1kB", "--parquet-ratio", "0.1", "--service", "20 s"]
    result = planned([ORDERS, EVENTS], *rates("ORDERS=120", "events=1000"), *options)
    found = json.loads(result.stdout)
    assert found["slot_seconds"] == 20
    assert found["budget_per_hour"] == 180
    assert set(found["staleness_seconds"]) == {"mean", "fixed", "optimum"}
    assert set(found["spool_bytes"]) == {"normal", "hour", "limit"}
    assert {f["kind"] for f in found["findings"]} == {"note"}
    orders = tables(result)["ORDERS"]
    assert orders["record_bytes"] == pytest.approx(100)
    assert orders["set_by"] == "age"
    assert orders["mean_seconds"] == pytest.approx(50, rel=0.01)


def test_a_rate_is_that_of_a_topic_or_of_a_table_or_of_a_topic_that_an_expression_takes(planned: Plan) -> None:
    given = rates("ORDERS=7", "events=5", "sensor.a=1", "sensor.b=2", "raw.x=3", "raw.y=4")
    found = tables(planned([ORDERS, EVENTS, SENSORS, EACH], "--json", *given))
    assert {name: table["records_per_second"] for name, table in found.items()} == {
        "ORDERS": 7, "events": 5, "SENSORS": 3, "RAW_raw_x": 3, "RAW_raw_y": 4,
    }  # fmt: skip


def test_a_table_named_by_a_rate_covers_its_expression(planned: Plan) -> None:
    assert tables(planned([SENSORS], "--json", *rates("sensors=9")))["SENSORS"]["records_per_second"] == 9


def test_a_rate_without_a_table_is_a_problem(planned: Plan) -> None:
    result = planned([ORDERS], *rates("nothing=1"))
    assert result.exit_code == 2
    assert "nothing: no topic or table of the configuration has this name" in result.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--rate", "orders"], "'orders' is not like orders=120"),
        (["--rate", "=1"], "'=1' is not like orders=120"),
        (["--rate", "orders=-1"], "'orders=-1' is not like orders=120"),
        (["--window", "soon"], "expected a duration"),
        (["--service", "0"], "must be more than 0"),
        (["--record-bytes", "big"], "expected a size"),
        (["--parquet-ratio", "0"], "0"),
    ],
)
def test_an_option_that_cannot_be_read_is_told(planned: Plan, options: list[str], problem: str) -> None:
    result = planned([ORDERS], *options)
    assert result.exit_code == 2
    assert problem in result.stderr


def test_what_is_not_given_needs_a_broker(planned: Plan) -> None:
    result = planned([ORDERS, EVENTS], *rates("orders=1", "events=1"))
    assert result.exit_code == 4
    assert f"no answer from {NOWHERE}" in result.stderr
