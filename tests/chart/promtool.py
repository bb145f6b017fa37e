"""Owns where promtool comes from: the path, or Debian's package `prometheus`, of which it is taken without installing.

Never installs anything. Invariant: where it cannot be had, MissingTool says why.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".prometheus"
_SECONDS = 120


class MissingTool(Exception):  # noqa: N818 - a state of the machine
    """There is no promtool; the text says why."""


@functools.cache
def promtool() -> Path:
    """Return the path of promtool, fetched once; raises MissingTool."""
    if found := shutil.which("promtool"):
        return Path(found)
    tool = CACHE / "usr" / "bin" / "promtool"
    if tool.exists():
        return tool
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise MissingTool("promtool is not on the path: install Prometheus")
    CACHE.mkdir(exist_ok=True)
    done = subprocess.run(
        ["apt-get", "download", "prometheus"], cwd=CACHE, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    packages = sorted(CACHE.glob("prometheus_*.deb"))
    if done.returncode or not packages:
        raise MissingTool(f"promtool is not on the path, and its package cannot be had: {done.stderr.strip()[-200:]}")
    subprocess.run(["dpkg-deb", "--extract", packages[-1], CACHE], check=True, timeout=_SECONDS)
    packages[-1].unlink()
    return tool


def run(*arguments: str | Path) -> tuple[int, str]:
    """Return promtool's exit code and all it says."""
    done = subprocess.run([promtool(), *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False)
    return done.returncode, done.stdout + done.stderr
