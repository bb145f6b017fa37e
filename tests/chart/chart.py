"""Owns how tests render the chart: by Helm's own engine, into what Kubernetes would be given.

Never talks to a cluster. Invariant: what is rendered here is what `helm install` would send, in release `my` of
namespace `data`.
"""

from __future__ import annotations

import functools
import json
import re
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from connector.config_file import parse
from helm.generate import CHART

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connector.config import Settings

try:
    import helm_python
except (ImportError, OSError) as e:  # no wheel for this platform, or it does not load
    MISSING: str | None = f"Helm's engine cannot be had here ({e}): pip install helm-python-sdk"
else:
    MISSING = None

RELEASE, NAMESPACE, NAME = "my", "data", "my-celonis-connector"
EXAMPLES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").iterdir())}
SNAPSHOT = Path(__file__).with_name("default.yaml")
_RECOMMENDED = 1  # a severity of lint
Values = dict[str, Any]
Manifest = dict[str, Any]


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """Helm does not take the values; the text is what a person would read."""


def example(name: str) -> Values:
    """Return the values of one file in `ci/`."""
    loaded = yaml.safe_load(EXAMPLES[name].read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def at(path: str, value: object) -> Values:
    """Return values in which `value` stands at `path`."""
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> Values:
    """Return both together, as Helm takes one file of values after another."""
    both = deepcopy(dict(values))
    for name, value in more.items():
        inner = both.get(name)
        both[name] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else deepcopy(value)
    return both


@functools.cache
def _chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)


def texts(values: Mapping[str, Any], release: str = RELEASE) -> Mapping[str, str]:
    """Return what each template makes of `values`; raises Refused."""
    return _texts(json.dumps(values), release)


@functools.cache
def _texts(values: str, release: str) -> Mapping[str, str]:
    try:
        found = _chart().render(json.loads(values), name=release, namespace=NAMESPACE)
    except helm_python.HelmError as e:
        raise Refused(str(e)) from None
    return {name.partition("templates/")[2]: text for name, text in sorted(found.items()) if text.strip()}


def lint(values: Mapping[str, Any]) -> list[str]:
    """Return what `helm lint --strict` finds of the chart with `values`, without what it only recommends."""
    report = helm_python.lint(CHART, dict(values), strict=True, namespace=NAMESPACE)
    return [*report["errors"], *(m["error"] for m in report["messages"] if m["severity"] > _RECOMMENDED)]


def manifests(values: Mapping[str, Any], release: str = RELEASE) -> list[Manifest]:
    """Return the resources that `values` make; raises Refused."""
    return deepcopy(_manifests(json.dumps(values), release))


@functools.cache
def _manifests(values: str, release: str) -> list[Manifest]:
    made = (text for name, text in _texts(values, release).items() if name != "NOTES.txt")
    documents = [document for text in made for document in yaml.safe_load_all(text)]
    assert all(isinstance(d, dict) for d in documents)
    return documents


def one(values: Mapping[str, Any], kind: str, name: str = NAME) -> Manifest:
    """Return the one resource of a kind and a name."""
    (found,) = (m for m in manifests(values) if m["kind"] == kind and m["metadata"]["name"] == name)
    return found


def kinds(values: Mapping[str, Any]) -> set[str]:
    """Return the kinds of resources that `values` make."""
    return {m["kind"] for m in manifests(values)}


def pod(values: Mapping[str, Any]) -> Manifest:
    """Return the connector's pod: metadata and spec."""
    (workload,) = (
        m
        for m in manifests(values)
        if m["kind"] in ("Deployment", "StatefulSet")
        and m["metadata"]["labels"]["app.kubernetes.io/component"] == "connector"
    )
    template = workload["spec"]["template"]
    assert isinstance(template, dict)
    return template


def container(values: Mapping[str, Any]) -> Manifest:
    """Return the connector's container."""
    (found,) = (c for c in pod(values)["spec"]["containers"] if c["name"] == "connector")
    assert isinstance(found, dict)
    return found


def pods(values: Mapping[str, Any]) -> list[Manifest]:
    """Return the spec of every pod that `values` make, whoever makes it."""
    found = []
    for m in manifests(values):
        if m["kind"] == "Pod":
            found.append(m["spec"])
        elif "template" in m.get("spec", {}):
            found.append(m["spec"]["template"]["spec"])
    return found


def config_text(values: Mapping[str, Any]) -> str:
    """Return the file that the pod finds, which is what it is told to read."""
    spec = container(values)
    env = {e["name"]: e.get("value") for e in spec["env"]}
    mount = next(m for m in spec["volumeMounts"] if m["name"] == "config")
    source = next(v for v in pod(values)["spec"]["volumes"] if v["name"] == "config")["configMap"]["name"]
    folder, _, file = str(env["KAFKA_CELONIS_CONFIG"]).rpartition("/")
    assert folder == mount["mountPath"]
    text = one(values, "ConfigMap", source)["data"][file]
    assert isinstance(text, str)
    return text


def settings(values: Mapping[str, Any]) -> Settings:
    """Return what the product reads in the pod, where the Secret has a key for every `${NAME}` that is not set."""
    text = config_text(values)
    env = {name: _SECRETS.get(name, "from-the-secret") for name in re.findall(r"\$\{(\w+)\}", text)}
    env |= {e["name"]: e.get("value", f"{NAME}-0") for e in container(values)["env"]}
    return parse(yaml.safe_load(text), env)


_SECRETS = {
    "CELONIS_URL": "https://my-team.eu-1.celonis.cloud",
    "CELONIS_POOL_ID": "00000000-0000-0000-0000-000000000000",
    "SCHEMA_REGISTRY_URL": "https://registry.example.com",
}


def snapshot() -> str:
    """Return the default rendering as one text."""
    return "".join(f"# {name}\n{text.strip()}\n---\n" for name, text in texts({}).items())
