"""Owns how the tests read docker/Dockerfile: its instructions by stage, and its steps done again without an engine.

Never runs an engine. Invariant: what is replayed is what stands in the file, only its absolute folders are moved.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PATH = ROOT / "docker" / "Dockerfile"
MOVED = ("/opt/kafka-celonis", "/tools", "/wheels", "/product", "/src")
STEP_SECONDS = 240


class Instruction(NamedTuple):
    """One instruction, with its continued lines joined."""

    word: str
    rest: str


def stages() -> list[list[Instruction]]:
    """Return what stands before the first FROM, and then every stage, which begins with its FROM."""
    text = re.sub(r"\\\n", " ", PATH.read_text(encoding="utf-8"))
    found: list[list[Instruction]] = [[]]
    for line in (line.strip() for line in text.splitlines()):
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            if word == "FROM":
                found.append([])
            found[-1].append(Instruction(word, rest.strip()))
    return found


def instructions(word: str) -> list[str]:
    """Return what follows a word, in all stages."""
    return [i.rest for stage in stages() for i in stage if i.word == word]


def last(word: str) -> str:
    """Return what follows a word in the stage that becomes the image."""
    return [i.rest for i in stages()[-1] if i.word == word][-1]


def environment() -> dict[str, str]:
    """Return the environment of the image, without PATH."""
    pairs = (pair.partition("=") for pair in last("ENV").split())
    return {name: value for name, _, value in pairs if name != "PATH"}


def health_command() -> list[str]:
    """Return the command of the health check."""
    command: list[str] = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    return command


class Replayed:
    """The steps of the Dockerfile in `folder`: `bin` has what the image has in its PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = self.moved("/opt/kafka-celonis") / "bin"
        self.tools = self.moved("/tools") / "bin"

    def moved(self, path: str) -> Path:
        """Return where a folder of the image stands here."""
        return self.folder / path.lstrip("/")

    def build(self) -> None:
        """Do what both stages do to files; what needs root or another base is left out."""
        self.moved("/src").mkdir(parents=True)
        for word, rest in stages()[1]:
            if word == "RUN":
                self._run(rest)
            elif word == "COPY":
                *sources, target = rest.split()
                for source in sources:
                    self._copy(source, target)
        for rest in (i.rest for i in stages()[2] if i.word == "COPY"):
            _, source, target = rest.split()
            if source != target:
                shutil.copytree(self.moved(source), self.moved(target), dirs_exist_ok=True, symlinks=True)

    def _copy(self, source: str, target: str) -> None:
        if (ROOT / source).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(ROOT / source, self.moved("/src") / target, ignore=unwanted)
        else:
            shutil.copy(ROOT / source, self.moved("/src") / target)

    def _run(self, step: str) -> None:
        for path in MOVED:
            step = re.sub(rf"(?<![\w.-]){path}(?![\w-])", str(self.moved(path)), step)
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        done = subprocess.run(
            ["sh", "-ec", step],
            cwd=self.moved("/src"), env={**os.environ, "PATH": path},
            capture_output=True, text=True, timeout=STEP_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{step}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
