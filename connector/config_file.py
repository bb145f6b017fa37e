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
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, SecretStr, ValidationError

from connector.config import Kafka, Settings, is_secret_property
from connector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise ConfigError([f"not YAML: {e}"], source=str(path)) from None
    return parse(data, env, source=str(path))


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets the last of two equal keys win in silence; here it is a problem."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        keys = [self.construct_object(k, deep=True) for k, _ in node.value]
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
    problems = filler.problems
    try:
        settings = Settings.model_validate(filled)
    except ValidationError as e:
        problems += [_line(error) for error in e.errors(include_url=False, include_input=False)]
    else:
        problems += [
            f"{path}: a secret must not stand in this file: write ${{NAME}} or ${{file:/path}}"
            for path in _secrets(settings, "")
            if path not in filler.filled
        ]
    if problems:
        raise ConfigError(problems, source=source)
    return settings


_PLACEHOLDER = re.compile(r"\$\{(file:)?([^}]*)\}")


@dataclass
class _Filler:
    """Replaces the placeholders of strings; `problems` says what is missing, `filled` the paths that had one."""

    env: Mapping[str, str]
    problems: list[str] = field(default_factory=list)
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
                self.problems.append(f"{path}: cannot read the file {name} ({type(e).__name__}): mount it, or fix it")
                return "unset"
        if name not in self.env:
            self.problems.append(f"{path}: the environment variable {name} is not set: set it")
            return "unset"
        return self.env[name]


def _secrets(model: BaseModel, path: str) -> Iterator[str]:
    """Yield the paths of all secrets that are set."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        here = f"{path}.{name}" if path else name
        if isinstance(value, SecretStr):
            yield here
        elif isinstance(value, BaseModel):
            yield from _secrets(value, here)
    if isinstance(model, Kafka):
        yield from (f"{path}.properties.{k}" for k in model.properties if is_secret_property(k))


def _line(error: ErrorDetails) -> str:
    """Return one problem as `path: message`, without the value, which may be a secret."""
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error["loc"]).lstrip(".")
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "unknown setting: remove it or fix its spelling (kafka-celonis config schema lists all)"
    elif error["type"] == "missing":
        message = "required: add it"
    return f"{path or 'top level'}: {message}"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file, for editors."""
    schema = Settings.model_json_schema(mode="validation")
    table = schema["$defs"]["Table"]
    table["required"] = [name for name in table["required"] if name != "format"]  # `defaults` may give it
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "kafka-celonis configuration"}


def effective(settings: Settings) -> str:
    """Return the settings in force as YAML, secrets masked."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
