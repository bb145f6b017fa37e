"""Owns the way from the configuration file to settings, and back to what a person may see of them.

Never opens a connection and never shows a secret. Invariant: where settings cannot be used, one ConfigError lists
every problem at once, each with its path in the file and the fix; a secret stands in the environment or in a file of
its own, never in the configuration file.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml
from pydantic import BaseModel, SecretStr, ValidationError

from connector.config import Settings, is_secret_property
from connector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pydantic_core import ErrorDetails


def load(path: Path, env: Mapping[str, str] = os.environ) -> Settings:
    """Read the file at `path`, fill in `${NAME}` and `${file:/path}`, and validate.

    Raises:
        ConfigError: with every problem found, each as `path.in.the.file: what is wrong, and the fix`.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)  # noqa: S506 - it is a SafeLoader
    except OSError as e:
        raise ConfigError([f"cannot read {path}: {e.strerror}"], source=str(path)) from None
    except yaml.MarkedYAMLError as e:  # its own text quotes the line, where a secret may stand
        mark = e.problem_mark or e.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError([f"not YAML: {where}{e.problem or e.context}"], source=str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise ConfigError([f"not YAML: {e}"], source=str(path)) from None
    return parse(data, env, source=str(path))


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets the last of two equal keys win in silence; here it is a problem."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        own = (k for k, _ in node.value if k.tag != "tag:yaml.org,2002:merge")  # `<<` is no key
        keys = [self.construct_object(k, deep=True) for k in own]
        twice = sorted({str(k) for k in keys if keys.count(k) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{', '.join(twice)} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def parse(data: object, env: Mapping[str, str], *, source: str = "configuration") -> Settings:
    """Validate what a YAML document holds; raises ConfigError like `load`."""
    filler = _Filler(env)
    filled = filler.fill(data, "")
    if not isinstance(filled, dict):
        raise ConfigError([f"the top level is {type(data).__name__}, not a mapping of settings"], source=source)
    problems = [f"{path}: {problem}" for path, problem in filler.problems.items()]
    problems += [
        f"{path}: a secret must not stand in this file: write ${{NAME}} or ${{file:/path}}"
        for path in _secrets(Settings, filled, "")
        if path not in filler.filled
    ]
    try:
        settings = Settings.model_validate(filled)
    except ValidationError as e:
        problems += _lines(e, filled, filler.problems)
        raise ConfigError(problems, source=source) from None
    if problems:
        raise ConfigError(problems, source=source)
    return settings


_PLACEHOLDER = re.compile(r"\$\{(file:)?([^}]*)\}")


@dataclass
class _Filler:
    """Replaces the placeholders of strings; `problems` says by path what is missing, `filled` which paths had one."""

    env: Mapping[str, str]
    problems: dict[str, str] = field(default_factory=dict)
    filled: set[str] = field(default_factory=set)

    def fill(self, node: Any, path: str) -> Any:  # noqa: ANN401 - whatever YAML holds
        """Return `node` with the placeholders of its strings replaced."""
        if isinstance(node, dict):
            return {k: self.fill(v, f"{path}.{k}" if path else str(k)) for k, v in node.items()}
        if isinstance(node, list):
            return [self.fill(v, f"{path}[{i}]") for i, v in enumerate(node)]
        if not isinstance(node, str) or not _PLACEHOLDER.search(node):
            return node
        self.filled.add(path)
        return _PLACEHOLDER.sub(lambda match: self._value(match, path), node)

    def _value(self, match: re.Match[str], path: str) -> str:
        is_file, name = match.groups()
        if is_file:
            try:
                return Path(name).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as e:
                self.problems[path] = f"cannot read the file {name} ({type(e).__name__}): mount it, or fix it"
                return "unset"
        if name not in self.env:
            self.problems[path] = f"the environment variable {name} is not set: set it"
            return "unset"
        return self.env[name]


_CLIENT_PROPERTIES = ("kafka.properties", "budget.ledger.properties")


def _secrets(model: type[BaseModel], data: object, path: str) -> Iterator[str]:
    """Yield the paths of all secrets that `data`, meant for `model`, gives, whatever else is wrong with it."""
    for name, value in data.items() if isinstance(data, dict) else ():
        here = f"{path}.{name}" if path else str(name)
        kinds = _kinds(model.model_fields[name].annotation) if name in model.model_fields else set()
        if SecretStr in kinds and value is not None:
            yield here
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _secrets(kind, value, here)
        if here in _CLIENT_PROPERTIES and isinstance(value, dict):
            yield from (f"{here}.{key}" for key in value if is_secret_property(str(key)))


def _kinds(annotation: object) -> set[object]:
    """Return a type and everything it is made of."""
    return {annotation}.union(*(_kinds(part) for part in get_args(annotation)))


def _lines(error: ValidationError, data: Mapping[str, Any], missing: Collection[str]) -> list[str]:
    """Return one line a problem, as `path: message`, without the value, which may be a secret.

    What a table only has from `defaults` is said there once, and what a placeholder lacks is said already.
    """
    errors = error.errors(include_url=False, include_input=False)
    said = {(e["loc"][1:], e["msg"]) for e in errors if e["loc"][:1] == ("defaults",)}
    lines = []
    for e in errors:
        inherited = (e["loc"][2:], e["msg"]) in said and not _gives(data, e["loc"])
        path = _path(e["loc"])
        if not inherited and path not in missing:
            lines += [f"{path or 'top level'}: {message}" for message in _message(e).splitlines()]
    return lines


def _gives(data: Any, path: tuple[int | str, ...]) -> bool:  # noqa: ANN401 - whatever YAML holds
    """Return whether something stands in the file at `path`."""
    for part in path:
        if isinstance(data, dict) and part not in data:
            return False
        data = data[part]
    return True


def _path(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in loc).lstrip(".")


def _message(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown setting: remove it or fix its spelling (kafka-celonis config schema lists all)"
    if error["type"] == "missing":
        return "required: add it"
    return error["msg"].removeprefix("Value error, ")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file, for editors."""
    schema = Settings.model_json_schema(mode="validation")
    table = schema["$defs"]["Table"]
    table["required"] = [name for name in table["required"] if name != "format"]  # `defaults` may give it
    for part in (schema, *schema["$defs"].values()):
        properties = part.get("properties", {})
        part["properties"] = {name: _or_placeholder(s) for name, s in properties.items()}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "kafka-celonis configuration"}


def _or_placeholder(schema: dict[str, Any]) -> dict[str, Any]:
    """Return `schema` of one setting, which may also be written as a placeholder."""
    told: dict[str, Any] = {name: schema[name] for name in ("title", "description", "default") if name in schema}
    rest = {name: value for name, value in schema.items() if name not in told}
    options = rest.pop("anyOf", None) or [rest]
    if any(option.get("type") in ("object", "array") or "$ref" in option for option in options):
        return schema
    return {**told, "anyOf": [*options, {"type": "string", "pattern": _PLACEHOLDER.pattern}]}


def effective(settings: Settings) -> str:
    """Return the settings in force as YAML, secrets masked."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
