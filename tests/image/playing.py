"""Owns how what Kubernetes is given is run without a cluster: by `podman kube play`.

Never asks a probe, as podman does not. Invariant: pods, their volumes and secrets end with their `with` block, by their
own names.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.image.engine import Engine, MissingEngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CACHE = Path(__file__).parents[2] / ".podman"
INIT = "catatonit"  # what holds the namespaces of a pod
KUBERNETES_SECRETS = (4, 4)  # from here on a secret of podman is one of Kubernetes, before it is its data alone
_SECONDS = 120
# Pods cannot be told limits, and podman takes the highest as root, which a sandbox may not allow: it is to set none.
_UNLIMIT = "import json, sys; s = json.load(sys.stdin); s['process'].pop('rlimits', 0); json.dump(s, sys.stdout)"
_LIMITS = {
    "version": "1.0.0",
    "hook": {"path": sys.executable, "args": ["python3", "-c", _UNLIMIT]},
    "when": {"always": True},
    "stages": ["precreate"],
}


def made_ready(engine: Engine) -> None:
    """Let podman find what it needs for pods; raises MissingEngineError."""
    if engine.name != "podman":
        raise MissingEngineError(f"only podman plays what Kubernetes is given, not {engine.name}")
    folder = CACHE / "usr" / "bin"
    if shutil.which(INIT) is None:
        if not (folder / INIT).exists():
            _fetch()
        engine.path = os.pathsep.join((str(folder), os.environ["PATH"]))


def _fetch() -> None:
    """Take the program out of Debian's package, once, without installing it."""
    missing = f"podman has no {INIT} for its pods"
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise MissingEngineError(missing)
    CACHE.mkdir(exist_ok=True)
    command = ["apt-get", "download", INIT]
    done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, timeout=_SECONDS, check=False)
    packages = sorted(CACHE.glob(f"{INIT}_*.deb"))
    if done.returncode or not packages:
        raise MissingEngineError(f"{missing}, and its package cannot be had: {done.stderr.strip()[-200:]}")
    subprocess.run(["dpkg-deb", "--extract", packages[-1], CACHE], check=True, timeout=_SECONDS)
    packages[-1].unlink()


@contextmanager
def secret(engine: Engine, name: str, data: Mapping[str, str]) -> Iterator[None]:
    """Keep a Secret for pods that are played."""
    coded: dict[str, Any] = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    version = engine.ask("version", "--format", "{{.Client.Version}}").split(".")
    if (int(version[0]), int(version[1])) >= KUBERNETES_SECRETS:
        coded = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": coded}
    engine.ask("secret", "create", name, "-", given=json.dumps(coded))
    try:
        yield
    finally:
        engine.ask("secret", "rm", name)


@contextmanager
def played(engine: Engine, name: str, manifests: str) -> Iterator[str]:
    """Run the pod of Deployment `name` among `manifests`, and yield its name."""
    pod = f"{name}-pod-0"
    try:
        with tempfile.TemporaryDirectory() as hooks:
            (Path(hooks) / "limits.json").write_text(json.dumps(_LIMITS))
            engine.ask("--hooks-dir", hooks, "kube", "play", "-", given=manifests)
        yield pod
    finally:
        engine.ask("pod", "rm", "--ignore", "--force", "--time", "0", pod)
        for volume in engine.ask("volume", "ls", "--quiet", "--filter", f"name={name}").split():
            engine.ask("volume", "rm", volume)  # what podman makes of the ConfigMap
