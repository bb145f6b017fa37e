"""Owns the chart's README: what values.yaml says of each value, as a table.

Never invents a text: a value without a comment stops the making. Invariant: the values listed are exactly those of
values.schema.json.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KEY = re.compile(r"(?P<indent> *)(?P<name>[A-Za-z]+):")
_HEAD = """# celonis-connector

{description}

```sh
kubectl create secret generic kafka-celonis \\
  --from-literal=KAFKA_BROKERS=broker-1:9092 --from-literal=CELONIS_URL=https://my-team.eu-1.celonis.cloud \\
  --from-literal=CELONIS_POOL_ID=00000000-0000-0000-0000-000000000000 --from-literal=CELONIS_APP_KEY=…
helm install kafka-celonis helm/celonis-connector --values my-values.yaml
helm test kafka-celonis --logs
kubectl exec deployment/kafka-celonis -- kafka-celonis status
```

`my-values.yaml` says at least where the image is and what goes where; [ci](ci) has an example of every feature:

```yaml
image: {{repository: registry.example.com/kafka-celonis-connector}}
config:
  tables:
    - {{topics: [orders], target: ORDERS, format: json, keys: [order_id]}}
```

A file of the connector can be given as it is: `--set-file config=connector.yaml`. To try it without a team, add
`--set emulator.enabled=true`; any `CELONIS_APP_KEY` will do. Pods do not see a changed Secret by themselves:
`kubectl rollout restart deployment/kafka-celonis`.

It needs Kubernetes {kubernetes} or newer and Helm 3.10 or newer. The image's entry point has to be `kafka-celonis`.
What each alert means is in the runbook of the connector's README (`prometheusRule.runbookUrl`).

## Values

This page is made from the comments of [values.yaml](values.yaml) by `make chart`.

| value | default | |
|---|---|---|
"""


class Value(NamedTuple):
    """One value of the chart: its path, its default, its comment."""

    path: str
    default: Any
    text: str


def values(text: str, schema: Mapping[str, Any]) -> list[Value]:
    """Return the values of a values.yaml in order; raises ValueError when one has no comment or is not in `schema`."""
    defaults = yaml.safe_load(text)
    found = list(_commented(text))
    paths = list(_leaves(schema))
    comments = {path: comment for path, comment in found if path in paths}
    if missing := sorted({*paths} - {path for path, comment in comments.items() if comment}):
        raise ValueError(f"values.yaml: without a comment: {', '.join(missing)}")
    return [Value(path, _at(defaults, path), comment) for path, comment in comments.items()]


def _leaves(schema: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Yield the paths of values: what has closed properties of its own is a section, but for the shape of a probe."""
    for name, part in schema["properties"].items():
        path = f"{before}{name}"
        if path == "global":  # Helm's own
            continue
        if not before and "properties" in part and part.get("additionalProperties") is False:
            yield from _leaves(part, f"{path}.")
        else:
            yield path


def _commented(text: str) -> Iterator[tuple[str, str]]:
    """Yield the path of every key in two levels, and the comment that stands right above it."""
    section, comment = "", ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            comment = f"{comment} {line.lstrip(' #')}".strip()
        elif not line:
            comment = ""
        elif (key := _KEY.match(line)) and len(key["indent"]) in (0, 2):
            section = "" if not key["indent"] else section
            yield f"{section}{key['name']}", comment
            section = section if key["indent"] else f"{key['name']}."
            comment = ""


def _at(node: Any, path: str) -> Any:  # noqa: ANN401 - whatever YAML holds
    for name in path.split("."):
        node = node[name]
    return node


def readme(text: str, schema: Mapping[str, Any], chart: Mapping[str, Any]) -> str:
    """Return the README of the chart."""
    head = _HEAD.format(
        description=chart["description"], kubernetes=chart["kubeVersion"].removeprefix(">=").removesuffix(".0-0")
    )
    return head + "".join(f"| `{v.path}` | {_shown(v.default)} | {v.text} |\n" for v in values(text, schema))


def _shown(default: object) -> str:
    shown = json.dumps(default, ensure_ascii=False)
    longest = 60
    return f"`{shown}`" if len(shown) <= longest else "see [values.yaml](values.yaml)"
