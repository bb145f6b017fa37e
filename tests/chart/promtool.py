"""Owns where Prometheus' programs come from: the path, or Debian's package, of which they are taken without installing.

Never installs anything. Invariant: where they cannot be had, MissingTool says why.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".prometheus"
_SECONDS = 120


class MissingTool(Exception):  # noqa: N818 - a state of the machine
    """The programs are not there; the text says why."""


def promtool() -> Path:
    """Return the path of promtool; raises MissingTool."""
    return _program("promtool")


def prometheus() -> Path:
    """Return the path of the server; raises MissingTool."""
    return _program("prometheus")


@functools.cache
def _program(name: str) -> Path:
    if found := shutil.which(name):
        return Path(found)
    program = CACHE / "usr" / "bin" / name
    if not program.exists():
        _fetch()
    return program


def _fetch() -> None:
    """Take the programs out of the package, once."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise MissingTool("promtool and prometheus are not on the path: install Prometheus")
    CACHE.mkdir(exist_ok=True)
    done = subprocess.run(
        ["apt-get", "download", "prometheus"], cwd=CACHE, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    packages = sorted(CACHE.glob("prometheus_*.deb"))
    if done.returncode or not packages:
        raise MissingTool(f"promtool is not on the path, and its package cannot be had: {done.stderr.strip()[-200:]}")
    subprocess.run(["dpkg-deb", "--extract", packages[-1], CACHE], check=True, timeout=_SECONDS)
    packages[-1].unlink()


def run(*arguments: str | Path, given: bytes = b"") -> tuple[int, str]:
    """Return promtool's exit code and all it says, `given` on its standard input."""
    done = subprocess.run([promtool(), *arguments], input=given, capture_output=True, timeout=_SECONDS, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()
