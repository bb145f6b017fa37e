"""What the rooms promise each other, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "connector").rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in MODULES]
LONGEST = 400  # lines; a module is near 300

OWNERS = {
    "confluent_kafka": ("connector/kafka/",),
    "httpx": ("connector/celonis/",),
    "tenacity": ("connector/celonis/", "connector/kafka/"),
    "prometheus_client": ("connector/observe/",),
    "duckdb": ("connector/emulator/",),
}
IMPURE = ("time", "threading", "logging", "os", "socket", "asyncio", "structlog", "random", "subprocess", "queue")


def imported(path: Path) -> set[str]:
    """Return the modules that a module imports, also inside functions and for types only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


def test_imports_point_one_way() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", OWNERS)
def test_a_library_of_an_edge_has_one_importer(package: str) -> None:
    exempt = ("connector/emulator/", "connector/demo/")
    importers = [name for name, path in zip(NAMES, MODULES, strict=True) if package in packages(path)]
    assert any(name.startswith(OWNERS[package]) for name in importers)
    assert [name for name in importers if not name.startswith((*OWNERS[package], *exempt))] == []


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("connector/core/")])
def test_the_core_is_pure(name: str) -> None:
    assert packages(ROOT / name).isdisjoint(IMPURE)


def test_nothing_but_the_command_line_and_the_demo_knows_the_emulator() -> None:
    importers = {
        name
        for name, path in zip(NAMES, MODULES, strict=True)
        if any(module.startswith("connector.emulator") for module in imported(path))
    }
    known = ("connector/cli.py", "connector/demo/", "connector/emulator/")
    assert [name for name in sorted(importers) if not name.startswith(known)] == []


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(("__init__.py", "__main__.py"))])
def test_a_module_says_what_it_owns_what_it_never_does_and_what_always_holds(name: str) -> None:
    text = ast.get_docstring(ast.parse((ROOT / name).read_text(encoding="utf-8"))) or ""
    told = " ".join(text.split())
    missing = [word for word in ("Owns ", "ever ", "Invariant:") if word not in told]
    assert missing == [], text


@pytest.mark.parametrize("name", NAMES)
def test_a_module_can_be_read_in_one_sitting(name: str) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= LONGEST
