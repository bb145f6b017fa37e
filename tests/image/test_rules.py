"""What the Dockerfile may not do, whatever it builds."""

from __future__ import annotations

import json
import re
import tomllib

import pytest

from connector.cli import main
from connector.config import Observe
from tests.image.dockerfile import PATH, ROOT, environment, health_command, instructions, last, stages

TEXT = PATH.read_text(encoding="utf-8")
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_the_base_is_an_argument_and_the_same_for_all_stages() -> None:
    before = stages()[0]
    assert [i.word for i in before] == ["ARG"]
    assert before[0].rest.startswith("BASE=")
    assert {rest.split()[0] for rest in instructions("FROM")} == {"${BASE}"}


def test_it_needs_no_frontend_from_elsewhere() -> None:
    assert "syntax=" not in TEXT


def test_it_runs_as_a_number_that_is_not_root() -> None:
    user, _, group = last("USER").partition(":")
    assert user.isdecimal()
    assert group.isdecimal()
    assert 0 not in (int(user), int(group))


def test_it_runs_as_the_user_that_the_chart_names() -> None:
    values = (ROOT / "helm/celonis-connector/values.yaml").read_text(encoding="utf-8")
    assert f"runAsUser: {last('USER').partition(':')[0]}" in values


@pytest.mark.parametrize("word", ["ENTRYPOINT", "CMD"])
def test_no_shell_stands_between_a_signal_and_us(word: str) -> None:
    assert isinstance(json.loads(last(word)), list)


def test_what_it_runs_without_arguments_is_a_command() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["kafka-celonis"]
    (command,) = json.loads(last("CMD"))
    assert command in main.commands


def test_it_is_asked_to_end_by_the_signal_that_drains() -> None:
    assert last("STOPSIGNAL") == "SIGTERM"


def test_the_health_check_needs_no_other_program_and_asks_the_port_of_the_probes() -> None:
    assert health_command()[0] == "python3"
    url = environment()["KAFKA_CELONIS_HEALTH_URL"]
    assert url == f"http://127.0.0.1:{Observe().port}/livez"
    assert last("EXPOSE") == str(Observe().port)


def test_the_configuration_is_looked_for_where_the_chart_puts_it() -> None:
    pod = (ROOT / "helm/celonis-connector/templates/_pod.tpl").read_text(encoding="utf-8")
    for name in ("KAFKA_CELONIS_CONFIG", "SPOOL_DIRECTORY"):
        assert re.search(rf"name: {name}\s+value: {environment()[name]}\n", pod), name


def test_what_is_written_to_are_volumes_and_nothing_compiles_into_the_image() -> None:
    assert set(json.loads(last("VOLUME"))) >= {environment()["SPOOL_DIRECTORY"], last("WORKDIR")}
    assert environment()["PYTHONDONTWRITEBYTECODE"] == "1"


def test_nothing_is_fetched_but_by_pip_with_constraints() -> None:
    assert instructions("ADD") == []
    assert not re.search(r"\b(curl|wget|apt-get|apk|git)\b", " ".join(instructions("RUN")))
    for step in re.findall(r"pip [^&]*\binstall [^&]*", " ".join(instructions("RUN"))):
        assert "--constraint constraints.txt" in step or "--no-index" in step, step


@pytest.mark.parametrize("text", [TEXT, CONSTRAINTS], ids=["Dockerfile", "constraints.txt"])
def test_no_address_of_a_package_index_stands_anywhere(text: str) -> None:
    found = re.findall(r"https?://[^\s\"']+|--(?:extra-)?index-url|--find-links|--trusted-host", text)
    assert [f for f in found if not f.startswith("http://127.0.0.1:")] == []


def test_an_index_may_be_given_and_stays_in_the_stage_that_is_thrown_away() -> None:
    assert "PIP_INDEX_URL" in [i.rest for i in stages()[1] if i.word == "ARG"]
    assert "PIP_INDEX_URL" not in " ".join(i.rest for i in stages()[2])


def test_every_constraint_is_a_name_and_a_version() -> None:
    lines = [line for line in CONSTRAINTS.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+!]+", line)] == []
    assert len({line.partition("==")[0].lower().replace("_", "-") for line in lines}) == len(lines)


def test_it_holds_no_secret() -> None:
    given = " ".join(instructions("ENV") + instructions("ARG") + instructions("LABEL"))
    assert not re.search(r"(?i)(password|secret|token|app_?key|api_?key)\S*=", given)


def test_its_labels_say_what_it_is() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', last("LABEL")))
    assert set(labels) >= {"title", "description", "licenses", "version", "revision"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (labels["title"], labels["description"], labels["licenses"]) == (
        project["name"], project["description"], project["license"],
    )  # fmt: skip
    assert f"VERSION={project['version']}" in [i.rest for i in stages()[2] if i.word == "ARG"]


def test_everything_that_is_copied_goes_to_the_engine() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for rest in instructions("COPY") if "--from" not in rest for source in rest.split()[:-1]}
    assert kept == copied
    assert all((ROOT / name).exists() for name in copied)
