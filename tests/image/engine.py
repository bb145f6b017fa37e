"""Owns how the tests get a real image: an engine on this machine, a base that it has or can make, and containers.

Never asks an image registry for anything. Invariant: a container ends with its `with` block, by its own id.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.image.dockerfile import PATH, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = "localhost/kafka-celonis-connector:tested"
MADE_BASE = "localhost/kafka-celonis-base"
BASES = (os.environ.get("IMAGE_BASE", ""), "python:3.13-slim", MADE_BASE)
SUITE = "trixie"  # the Debian whose python3 is 3.13, as the Dockerfile's own base
BUILD_SECONDS = 600
_CERTIFICATES = "/etc/ssl/certs:/etc/ssl/certs:ro"  # this machine's trust reaches its package index
_LIMITS = ("--ulimit", "nofile=8192:8192", "--ulimit", "nproc=4096:4096")  # an engine in a sandbox may not raise them
_LOCKED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges")  # noqa: S108


class MissingEngineError(Exception):
    """No image can be built or run here; the text says why."""


class Engine:
    """podman, or docker with a daemon that answers."""

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise MissingEngineError("containers share the network of this machine only on Linux")
        found = [name for name in ("podman", "docker") if shutil.which(name) and _answers(name)]
        if not found:
            raise MissingEngineError("neither podman nor a docker with its daemon is here")
        self.name = found[0]
        self._podman = self.name == "podman"
        self.path = os.environ["PATH"]

    def build(self) -> None:
        """Build the image from the Dockerfile."""
        special = ("--isolation", "chroot", "--format", "docker", "--volume", _CERTIFICATES) if self._podman else ()
        arguments = ("--network", "host", "--build-arg", f"BASE={self._base()}", "--file", str(PATH), "--tag", IMAGE)
        self.ask("build", *special, *arguments, str(ROOT))

    def _base(self) -> str:
        for base in filter(None, BASES):
            if self._done("image", "inspect", base).returncode == 0:
                return base
        if shutil.which("debootstrap") is None or os.geteuid() != 0:
            raise MissingEngineError(f"{self.name} has no base: pull {BASES[1]} once, or install debootstrap as root")
        return self._made_base()

    def _made_base(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            root, archive = Path(folder) / "root", Path(folder) / "base.tar"
            packages = "--include=python3,python3-venv,ca-certificates"
            for command in (
                ["debootstrap", "--variant=minbase", packages, SUITE, str(root)],
                ["tar", "--create", "--one-file-system", "--directory", str(root), "--file", str(archive), "."],
            ):
                done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
                if done.returncode:
                    raise MissingEngineError(f"debootstrap could not make a base: {done.stdout[-300:]}")
            self.ask("import", str(archive), MADE_BASE)
        return MADE_BASE

    def run(self, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command of the image to its end, locked as the chart locks it."""
        return self._done("run", "--rm", *self._locked(), *options, IMAGE, *arguments)

    @contextmanager
    def started(self, *arguments: str, options: tuple[str, ...] = ()) -> Iterator[str]:
        """Start a container and yield its id."""
        container = self.ask("run", "--detach", *self._locked(), *options, IMAGE, *arguments).split()[-1]
        try:
            yield container
        finally:
            self._done("rm", "--force", "--volumes", container)

    @contextmanager
    def volume(self) -> Iterator[str]:
        """Yield the name of a new volume."""
        name = self.ask("volume", "create").split()[-1]
        try:
            yield name
        finally:
            self._done("volume", "rm", "--force", name)

    def run_inside(self, container: str, *command: str) -> int:
        """Return the exit code of a command in a container."""
        return self._done("exec", container, *command).returncode

    def stop(self, container: str, seconds: int) -> int:
        """Ask a container to end as its image says, kill it after `seconds`, and return its exit code."""
        self.ask("stop", "--time", str(seconds), container)
        return int(self.ask("inspect", "--format", "{{.State.ExitCode}}", container))

    def ended(self, container: str) -> bool:
        """Fail with its log when a container has ended; else return False, so that the wait goes on."""
        running = self.ask("inspect", "--format", "{{.State.Running}}", container).strip()
        assert running == "true", self.log(container)
        return False

    def log(self, container: str) -> str:
        """Return what a container wrote."""
        done = self._done("logs", container)
        return done.stdout + done.stderr

    def ask(self, *arguments: str, given: str = "") -> str:
        """Return what the engine prints, once it succeeds with `given` on its standard input."""
        done = self._done(*arguments, given=given)
        assert done.returncode == 0, f"{self.name} {' '.join(arguments)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def _locked(self) -> tuple[str, ...]:
        return ("--network", "host", "--no-healthcheck", *_LOCKED, *_LIMITS)

    def _done(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        command = [self.name, *arguments]
        return subprocess.run(
            command, input=given, env={**os.environ, "PATH": self.path},
            capture_output=True, text=True, timeout=BUILD_SECONDS, check=False,
        )  # fmt: skip


def _answers(name: str) -> bool:
    return subprocess.run([name, "info"], capture_output=True, timeout=60, check=False).returncode == 0
