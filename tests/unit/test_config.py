"""The configuration file: what is in it, what it refuses, and what it never shows."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from pydantic import BaseModel, SecretStr

from connector.config import Celonis, ColumnSettings, Settings
from connector.config_file import effective, json_schema, load, parse
from connector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

EXAMPLE = Path(__file__).parents[2] / "config" / "connector.yaml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
SECRET = "s3cr3t-value"
ENV = dict.fromkeys(re.findall(r"\$\{(\w+)\}", TEXT), "value") | {
    "CELONIS_URL": "https://team.eu-1.celonis.cloud",
    "CELONIS_POOL_ID": "11111111-2222-3333-4444-555555555555",
    "SCHEMA_REGISTRY_URL": "https://registry.example",
    "SECRET": SECRET,
}


def document(**changes: Any) -> dict[str, Any]:
    """Return a small configuration that is right, with `changes` at its top level."""
    celonis = {"team_url": ENV["CELONIS_URL"], "pool_id": ENV["CELONIS_POOL_ID"], "auth": {"app_key": "${SECRET}"}}
    tables = [{"topics": ["orders"], "target": "ORDERS", "format": "json"}]
    return {"kafka": {"brokers": "localhost:9092"}, "celonis": celonis, "tables": tables} | changes


def problems(data: object, env: Mapping[str, str] = ENV) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(data, env)
    return caught.value.problems


def with_celonis(**changes: Any) -> dict[str, Any]:
    return document(celonis=document()["celonis"] | changes)


def with_kafka(**changes: Any) -> dict[str, Any]:
    return document(kafka=document()["kafka"] | changes)


def with_ledger(**changes: Any) -> dict[str, Any]:
    return document(budget={"ledger": {"brokers": "ledger:9092"} | changes})


def with_tables(*tables: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return document(tables=[document()["tables"][0] | table for table in tables], **changes)


# --- the example ----------------------------------------------------------------------------------------------


def uncommented() -> Any:
    """Return the example with every commented setting in force, but for the other ways to authenticate."""
    setting = re.compile(r"^(\s*)# ( *(?!auto:)[a-z_]+:( .*)?)$")  # prose begins with a capital, or is `auto: …`
    return yaml.safe_load("\n".join(setting.sub(r"\1\2", line) for line in TEXT.splitlines()))


def models(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every setting of the models as `path`, with its model."""
    for name, field in model.model_fields.items():
        here = f"{path}.{name}".lstrip(".")
        yield here, model
        kinds = [field.annotation, *get_args(field.annotation)]
        for kind in kinds if get_origin(field.annotation) is not dict else []:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from models(kind, here)


def settings_in(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting of a document as `path`, with its value; the items of a list stand together."""
    for item in node if isinstance(node, list) else [node]:
        for name, value in item.items() if isinstance(item, dict) else ():
            here = f"{path}.{name}".lstrip(".")
            yield here, value
            if path not in ("tables.columns", "kafka.properties"):
                yield from settings_in(value, here)


def test_the_example_loads_with_its_environment() -> None:
    settings = load(EXAMPLE, ENV)
    assert [t.target for t in settings.tables] == ["PURCHASE_ORDERS", "ACTIVITIES", "{topic}"]
    assert settings.tables[2].flush.age == 300.0
    assert settings.tables[2].flush.records == 1_000_000


def test_the_example_says_which_environment_it_needs() -> None:
    with pytest.raises(ConfigError) as caught:
        load(EXAMPLE, {})
    missing = {re.search(r"variable (\w+) is not set", p).group(1) for p in caught.value.problems}  # type: ignore[union-attr]
    assert missing == set(re.findall(r"\$\{(\w+)\}", re.sub(r"(?m)^\s*#.*$", "", TEXT)))


def test_every_setting_of_the_models_stands_in_the_example_and_the_reverse() -> None:
    elsewhere = {  # shown in `defaults`, under `columns`, and like schema_registry.basic_auth
        *("tables.decimals", "tables.binary", "tables.long_strings", "tables.on_job_error", "tables.job_error_pushes"),
        *("tables.flush.records", "tables.flush.bytes", "tables.weight", "tables.max_staleness"),
        *("celonis.proxy_auth.username", "celonis.proxy_auth.password"),
    }
    shown = {path for path, _ in settings_in(uncommented()) if not path.startswith("kafka.properties.")}
    columns = {path for path in shown if path.startswith("tables.columns.")}
    assert shown - columns == {path for path, _ in models(Settings)} - elsewhere
    described = yaml.safe_load(TEXT)["tables"][1]["columns"].values()
    assert {name for column in described for name in column} == set(ColumnSettings.model_fields)


def test_what_is_commented_out_is_the_default() -> None:
    document = uncommented()
    document["celonis"]["auth"] = {"app_key": document["celonis"]["auth"]["app_key"]}
    assert len(dict(settings_in(document))) > len(dict(settings_in(yaml.safe_load(TEXT)))) + 15
    assert parse(document, ENV).model_dump() == load(EXAMPLE, ENV).model_dump()


# --- JSON Schema ----------------------------------------------------------------------------------------------


def judged(data: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(json_schema())
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(data)]


def test_the_schema_is_one_and_takes_the_example_as_it_is_written() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert judged(yaml.safe_load(TEXT)) == []


def test_the_schema_takes_placeholders_for_any_value_and_a_format_from_the_defaults() -> None:
    data = document(defaults={"format": "json"}, tables=[{"topics": ["a"]}], observe={"port": "${PORT}"})
    assert judged(data) == []


@pytest.mark.parametrize(
    "data",
    [
        document(unknown=1),
        with_celonis(unknown=1),
        with_tables({"unknown": 1}),
        with_tables({"format": "xml"}),
        with_celonis(pool_id="7"),
        document(observe={"port": -1}),
        {},
    ],
)
def test_the_schema_refuses_what_loading_refuses(data: Any) -> None:
    assert judged(data)
    assert problems(data)


# --- problems -------------------------------------------------------------------------------------------------


def test_all_problems_come_at_once_each_with_its_path() -> None:
    data = {
        "kafka": {"brokers": "${NOWHERE}", "groop": "g", "dead_letter_topic": "orders"},
        "celonis": {"team_url": "team", "pool_id": "7", "auth": {"app_key": SECRET, "bearer": "${SECRET}"}},
        "tables": [{"topics": ["orders", "orders"], "format": "avro"}, {"topics": ["^("], "format": "json"}],
        "observe": {"port": "eighty"},
        "spool": {"chunk_bytes": "1 GB"},
    }
    found = problems(data)
    assert [p.split(": ")[0] for p in found] == [
        "kafka.brokers",
        "celonis.auth.app_key",
        "kafka.groop",
        "celonis.team_url",
        "celonis.pool_id",
        "celonis.auth",
        "tables[1].topics",
        "spool.chunk_bytes",
        "observe.port",
    ]
    assert found[0] == "kafka.brokers: the environment variable NOWHERE is not set: set it"


def test_what_does_not_fit_together_is_told_also_when_other_things_are_wrong() -> None:
    tables = ({"topics": ["a", "b"], "format": "avro"}, {"topics": ["b", "dead"], "target": "orders"})
    found = problems(with_tables(*tables, kafka={"brokers": "b", "dead_letter_topic": "dead"}, observe={"port": -1}))
    assert found == [
        "tables: b: a topic goes to one table: remove it from the others",
        "tables: orders: one entry fills a table: list all topics there, or set another target",
        "tables: dead is kafka.dead_letter_topic, its rejects would come back: narrow topics",
        "tables: format avro needs a schema registry: add schema_registry.url",
        "observe.port: Input should be greater than or equal to 0",
    ]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "the top level is NoneType, not a mapping of settings"),
        ([], "the top level is list, not a mapping of settings"),
        ("text", "the top level is str, not a mapping of settings"),
        (document(tables=[]), "tables: List should have at least 1 item after validation, not 0"),
        (document(tables=None), "tables: Input should be a valid list"),
        (document(tables=["orders"]), "tables[0]: Input should be a valid dictionary or instance of Table"),
        (document(defaults=7), "defaults: Input should be a valid dictionary or instance of TableDefaults"),
        (document(celonis=None), "celonis: Input should be a valid dictionary or instance of Celonis"),
        (
            {k: v for k, v in document().items() if k != "kafka"},
            "kafka: required: add it",
        ),
        (
            document(oberve={}),
            "oberve: unknown setting: remove it or fix its spelling (kafka-celonis config schema lists all)",
        ),
        (with_tables({"format": None}), "tables[0].format: Input should be 'avro' or 'json'"),
        (with_tables({"topics": []}), "tables[0].topics: List should have at least 1 item after validation, not 0"),
        (
            with_tables({"append": True, "keys": ["id"]}),
            "tables[0]: append and keys exclude each other: remove one of them",
        ),
        (
            with_tables({"keys": ["id"], "columns": {"id": {"exclude": True}}}),
            "tables[0]: key columns cannot be excluded: id",
        ),
        (
            with_tables({"topics": ["^orders"]}, kafka={"brokers": "b", "dead_letter_topic": "orders.dead"}),
            "tables: orders.dead is kafka.dead_letter_topic, its rejects would come back: narrow topics",
        ),
        (
            with_tables({"order_by": "at"}),
            "tables[0]: order_by tells which record of a key is the last: set keys too",
        ),
        (
            with_tables({"keys": ["id"], "order_by": "ID"}),
            "tables[0]: order_by cannot be a key: all records of a key have the same ID",
        ),
        (
            with_tables({"keys": ["id"], "order_by": "at", "columns": {"at": {"exclude": True}}}),
            "tables[0]: the column of order_by cannot be excluded: at",
        ),
        (
            with_tables({"on_tombstone": "delete"}),
            "tables[0]: on_tombstone: delete needs keys, whose values the Kafka keys hold: set ignore or reject",
        ),
        (
            with_tables({"keys": ["id"], "key_format": "avro"}),
            "tables: format avro needs a schema registry: add schema_registry.url",
        ),
        (
            with_kafka(properties={"group.id": "g", "isolation.level": "x"}),
            "kafka.properties: group.id, isolation.level: set by the connector itself, remove it here",
        ),
        (
            with_celonis(auth={}),
            "celonis.auth: set exactly one of app_key, bearer, oauth (found: none)",
        ),
        (
            with_celonis(auth={"app_key": "${SECRET}", "bearer": "${SECRET}"}),
            "celonis.auth: set exactly one of app_key, bearer, oauth (found: app_key, bearer)",
        ),
        (
            with_celonis(request_timeout="soon"),
            "celonis.request_timeout: expected a duration such as 500 ms, 60 s, 5 min, 1 h or a number of seconds",
        ),
        (
            document(spool={"bytes": "10 parsecs"}),
            "spool.bytes: expected a size such as 256 MiB, 1 GB or a number of bytes",
        ),
        (document(spool={"chunk_bytes": 10**9}), "spool.chunk_bytes: Input should be less than 1000000000"),
        (with_celonis(request_timeout=0), "celonis.request_timeout: Input should be greater than 0"),
        (
            document(budget={"pushes_per_hour": 251}),
            "budget.pushes_per_hour: Input should be less than or equal to 250",
        ),
        (
            document(budget={"clock_speed": 60}),
            "budget: budget.clock_speed is for the emulator, the hours of Celonis pass at 1: remove it",
        ),
        (
            document(budget={"ledger": {"properties": {"security.protocol": "SSL"}}}),
            "budget.ledger: properties are those of brokers: set brokers too, or leave kafka.properties to count",
        ),
        (
            with_ledger(properties={"group.id": "g", "isolation.level": "x"}),
            "budget.ledger.properties: group.id, isolation.level: set by the connector itself, remove it here",
        ),
    ],
)
def test_a_problem_is_named_with_its_place(data: object, problem: str) -> None:
    assert problems(data) == [problem]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("team_url", "https://user:password@team.celonis.cloud"),
        ("team_url", "https://team.celonis.cloud/path"),
        ("team_url", "team.celonis.cloud"),
        ("pool_id", "11111111-2222-3333-4444"),
        ("connection_id", "seven"),
        ("proxy", "http://user:password@proxy:3128"),
        ("proxy", "socks5://proxy:1080"),
    ],
)
def test_addresses_and_ids_are_checked_and_carry_no_password(setting: str, value: str) -> None:
    (problem,) = problems(with_celonis(**{setting: value}))
    assert problem.startswith(f"celonis.{setting}: ")
    assert "password" not in problem


@pytest.mark.parametrize("key", ["", " ", "a b", "a\nb", "käy", "\x00"])
def test_a_key_that_no_header_can_hold_is_a_problem(key: str) -> None:
    (problem,) = problems(with_celonis(auth={"app_key": "${KEY}"}), {"KEY": key})
    assert problem == (
        "celonis.auth.app_key: a key is visible ASCII characters without spaces or line ends, and not empty"
    )


# --- the file -------------------------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Return a way to write a file."""

    def written(text: str) -> Path:
        path = tmp_path / "connector.yaml"
        path.write_bytes(text.encode("latin-1"))
        return path

    return written


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kafka:\n  group: a\n  group: b\n", "not YAML: line 2, column 3: group stands twice"),
        ("kafka: {}\nkafka: {}\n", "not YAML: line 1, column 1: kafka stands twice"),
        (f"key: [{SECRET}\n", "not YAML: line 2, column 1: expected ',' or ']', but got '<stream end>'"),
        (f'key: "{SECRET}\n', "not YAML: line 2, column 1: found unexpected end of stream"),
        ("a: !!python/object:os.system {}\n", "could not determine a constructor for the tag"),
        ("a: b: c\n", "not YAML: line 1, column 5: mapping values are not allowed here"),
        ("{[a]: b}\n", "not YAML: line 1, column 2: found unhashable key"),
        ("\xe9: \xff\n", "not YAML: 'utf-8' codec can't decode byte 0xe9"),
        ("a: \x00\n", "not YAML: unacceptable character #x0000"),
    ],
)
def test_a_file_that_is_no_yaml_says_where_without_quoting_it(
    text: str, problem: str, write: Callable[[str], Path]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(text), ENV)
    assert problem in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.yaml", tmp_path):
        with pytest.raises(ConfigError, match="cannot read") as caught:
            load(path, ENV)
        assert str(path) in str(caught.value)


def test_anchors_and_merge_keys_may_be_used(write: Callable[[str], Path]) -> None:
    text = yaml.safe_dump(document()) + "observe: &o {port: 1, host: h}\nspool: &s {<<: {directory: a}, directory: b}\n"
    settings = load(write(text), ENV)
    assert (settings.observe.port, str(settings.spool.directory)) == (1, "b")


# --- placeholders and secrets ---------------------------------------------------------------------------------


def test_a_placeholder_takes_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\r\n")
    data = with_celonis(auth={"app_key": f"${{file:{tmp_path}/key}}"}) | {"observe": {"port": "${PORT}"}}
    settings = parse(data, {"PORT": "9000"})
    assert settings.celonis.auth.app_key == SecretStr(SECRET)
    assert settings.observe.port == 9000


def test_a_placeholder_may_stand_within_text() -> None:
    settings = parse(with_kafka(brokers="${A}:1,${B}:2"), ENV | {"A": "a", "B": "b"})
    assert settings.kafka.brokers == "a:1,b:2"


def test_a_file_that_cannot_be_read_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "gone", tmp_path, tmp_path / "binary"):
        (problem,) = problems(with_celonis(pool_id=f"${{file:{path}}}"))
        assert problem.startswith(f"celonis.pool_id: cannot read the file {path} (")


SECRETS: list[tuple[str, Callable[[str], dict[str, Any]]]] = [
    ("celonis.auth.app_key", lambda s: with_celonis(auth={"app_key": s})),
    ("celonis.auth.bearer", lambda s: with_celonis(auth={"bearer": s})),
    (
        "celonis.auth.oauth.client_secret",
        lambda s: with_celonis(auth={"oauth": {"client_id": "c", "client_secret": s}}),
    ),
    ("celonis.proxy_auth.password", lambda s: with_celonis(proxy_auth={"username": "u", "password": s})),
    (
        "schema_registry.basic_auth.password",
        lambda s: document(schema_registry={"url": "https://r", "basic_auth": {"username": "u", "password": s}}),
    ),
    ("schema_registry.bearer_token", lambda s: document(schema_registry={"url": "https://r", "bearer_token": s})),
    *(
        (f"kafka.properties.{name}", lambda s, name=name: with_kafka(properties={name: s}))
        for name in ("sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret")
    ),
    ("kafka.properties.sasl.oauthbearer.config", lambda s: with_kafka(properties={"sasl.oauthbearer.config": s})),
    ("budget.ledger.properties.sasl.password", lambda s: with_ledger(properties={"sasl.password": s})),
]


@pytest.mark.parametrize(("path", "with_secret"), SECRETS, ids=[path for path, _ in SECRETS])
def test_a_secret_in_the_file_is_a_problem_and_one_from_outside_is_masked(
    path: str, with_secret: Callable[[str], dict[str, Any]]
) -> None:
    assert problems(with_secret(SECRET)) == [
        f"{path}: a secret must not stand in this file: write ${{NAME}} or ${{file:/path}}"
    ]
    settings = parse(with_secret("${SECRET}"), ENV)
    shown = effective(settings)
    assert SECRET not in shown + repr(settings) + str(settings) + settings.model_dump_json()
    assert "**********" in shown
    (problem,) = problems(with_secret("${SECRET}") | {"unknown": SECRET})
    assert SECRET not in problem


@pytest.mark.parametrize(
    "name", ["sasl.username", "ssl.ca.pem", "ssl.certificate.pem", "sasl.oauthbearer.token.endpoint.url"]
)
def test_what_is_no_secret_is_shown(name: str) -> None:
    assert f"{name}: visible" in effective(parse(with_kafka(properties={name: "visible"}), ENV))


def test_the_hours_of_the_emulator_may_pass_faster() -> None:
    emulator = with_celonis(team_url="http://127.0.0.1:8081") | {"budget": {"clock_speed": 60}}
    assert parse(emulator, ENV).budget.clock_speed == 60


def test_every_secret_of_the_models_is_tried_above() -> None:
    secret = {p for p, _ in models(Settings) if re.search(r"password|secret|token|app_key|bearer$", p)}
    assert secret == {path for path, _ in SECRETS if ".properties." not in path}


def test_settings_cannot_be_changed() -> None:
    settings = parse(document(), ENV)
    with pytest.raises(ValueError, match="frozen"):
        settings.celonis.pool_id = "other"  # type: ignore[misc]


# --- defaults and units ---------------------------------------------------------------------------------------


def test_defaults_fill_what_a_table_does_not_set() -> None:
    defaults = {"format": "json", "decimals": "string", "flush": {"age": "5 min", "records": 7}}
    tables = [{"topics": ["a"]}, {"topics": ["b"], "decimals": "double", "flush": {"records": 9}}]
    a, b = parse(document(defaults=defaults, tables=tables), ENV).tables
    assert (a.format, a.decimals, a.flush.age, a.flush.records) == ("json", "string", 300.0, 7)
    assert (b.format, b.decimals, b.flush.age, b.flush.records) == ("json", "double", 300.0, 9)
    assert a.flush.bytes == b.flush.bytes == 1 << 30


def test_defaults_are_overridden_by_presence_not_by_truth() -> None:
    data = document(defaults={"format": "json", "flush": {"age": 60}}, tables=[{"topics": ["a"], "flush": {"age": 0}}])
    assert problems(data) == ["tables[0].flush.age: Input should be greater than 0"], "0 is not 'unset'"
    data = document(defaults={"format": "json"}, tables=[{"topics": ["a"], "format": None}])
    assert problems(data) == ["tables[0].format: Input should be 'avro' or 'json'"], "nor is null"


def test_a_problem_of_the_defaults_is_told_once_and_a_tables_own_beside_it() -> None:
    tables = [{"topics": ["a"]}, {"topics": ["b"], "flush": {"age": 0}}]
    data = document(defaults={"format": "json", "flush": {"age": 0}, "colour": 1}, tables=tables)
    assert [p.split(": ")[0] for p in problems(data)] == [
        "defaults.flush.age",
        "defaults.colour",
        "tables[1].flush.age",
    ]


def test_a_table_without_a_format_anywhere_is_a_problem() -> None:
    assert problems(document(tables=[{"topics": ["a"]}])) == ["tables[0].format: required: add it"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("500 ms", 0.5), ("1.5 s", 1.5), ("5 min", 300), ("5m", 300), ("2 h", 7200), (7, 7), ("7", 7)]
)
def test_durations_are_written_as_people_do(text: object, seconds: float) -> None:
    assert Celonis.model_validate(with_celonis(request_timeout=text)["celonis"]).request_timeout == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("1 GB", 10**9), ("2GiB", 2 << 30), ("64 MiB", 64 << 20), (1 << 20, 1 << 20), ("2097152", 2 << 20)],
)
def test_sizes_are_written_as_people_do(text: object, size: int) -> None:
    assert parse(document(spool={"bytes": text}), ENV).spool.bytes == size
