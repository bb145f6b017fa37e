"""Owns the command `python -m tests.together`: parts of the suite at the same time, since most of them mostly wait.

Never chooses tests: each part is what pytest is told, separated by `--`; the first one is measured by coverage.
Invariant: the exit code is 0 only if all parts passed; what they print is not mixed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from typing import IO

SLOWEST = "--durations=8"


def main(arguments: list[str]) -> int:
    """Run all parts, print the last one as it goes and the others at the end."""
    parts = " ".join(arguments).split(" -- ")
    commands = [[sys.executable, "-m", "pytest", SLOWEST, *part.split()] for part in parts]
    commands[0][1:1] = ["-m", "coverage", "run"]
    with ExitStack() as running:
        beside = [_begin(command, running) for command in commands[:-1]]
        codes = [subprocess.run(commands[-1], check=False).returncode]
        codes += [process.wait() for process, _ in beside]
        for _, output in beside:
            output.seek(0)
            print(output.read(), flush=True)
    return max(codes)


def _begin(command: list[str], running: ExitStack) -> tuple[subprocess.Popen[str], IO[str]]:
    output = running.enter_context(tempfile.TemporaryFile("w+"))  # noqa: SIM115 - it is one
    process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True)
    running.callback(process.wait)
    running.callback(process.kill)
    return process, output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
