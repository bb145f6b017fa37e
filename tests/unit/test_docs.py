"""What the README says exists: commands, targets, settings, metrics, exit codes, reasons; and the reverse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from pydantic import BaseModel

from connector.cli import main
from connector.config import Settings
from connector.ending import EXIT_CODES
from connector.observe.catalog import METRICS
from helm.generate.reference import END, with_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = next(paragraph for paragraph in README.split("\n\n") if paragraph.startswith("Commands:"))


def _commands(group: click.Group, before: str = "") -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command, f"{name} ")
        else:
            yield before + name


def test_the_readme_lists_exactly_the_commands_there_are() -> None:
    listed = {name.removeprefix("kafka-celonis ") for name in re.findall(r"`([a-z -]+)`", COMMANDS)}
    assert listed - {"--help"} == set(_commands(main))


def test_every_command_that_the_readme_shows_exists() -> None:
    shown = set(re.findall(r"kafka-celonis ((?:config )?[a-z]+)", README))
    assert shown <= set(_commands(main))


def test_every_make_target_that_the_readme_shows_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_setting_that_the_readme_names_exists() -> None:
    sections = "|".join(Settings.model_fields)
    for path in re.findall(rf"`((?:{sections})(?:\.[a-z_]+)+)`", README):
        model: type[BaseModel] | None = Settings
        for name in path.split("."):
            assert model is not None, path
            assert name in model.model_fields, path
            model = _model_in(model.model_fields[name].annotation)


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Return the model in an annotation such as `Kafka` or `SchemaRegistry | None`."""
    kinds = [k for k in [annotation, *getattr(annotation, "__args__", ())] if isinstance(k, type)]
    return next((k for k in kinds if issubclass(k, BaseModel)), None)


def test_every_metric_that_the_readme_names_exists() -> None:
    known = {metric.full_name for metric in METRICS} | {name for metric in METRICS for name in metric.series}
    for name in re.findall(r"kafka_celonis_[a-z_]+", README):
        assert name in known, name


def test_the_reference_of_metrics_is_made_from_the_catalog() -> None:
    assert with_reference(README) == README, "run `make chart`"


def test_a_readme_without_a_place_for_the_reference_is_noticed() -> None:
    with pytest.raises(ValueError, match="no marks"):
        with_reference(README.replace(END, ""))


@pytest.mark.parametrize("code", sorted(EXIT_CODES))
def test_every_exit_code_is_in_the_readme(code: int) -> None:
    codes = next(paragraph for paragraph in README.split("\n\n") if paragraph.startswith("Exit codes:"))
    assert re.search(rf"\b{code} ", codes)


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_library_example_names_what_exists() -> None:
    example = next(b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "DataPushClient" in b)
    imports = "\n".join(line for line in example.splitlines() if line.startswith("from "))
    scope: dict[str, object] = {}
    exec(compile(imports, "README.md", "exec"), scope)  # noqa: S102 - our own text
    compile(example, "README.md", "exec")
    for method in re.findall(r"client\.([a-z_]+)\(", example):
        assert hasattr(scope["DataPushClient"], method), method


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_what_the_other_documents_name_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for path in re.findall(r"\]\(([^)#:]+)\)|`((?:connector|tests|helm|docker|config)/[\w./-]+)`", text):
        assert (ROOT / "".join(path)).exists(), path
    assert set(re.findall(r"kafka-celonis ((?:config )?[a-z]+)", text)) <= set(_commands(main))
