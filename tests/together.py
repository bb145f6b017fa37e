"""Owns the command `python -m tests.together`: two parts of the suite at the same time, since one of them mostly waits.

Never chooses tests: each part is what pytest is told, separated by `--`; the first one is measured by coverage.
Invariant: the exit code is 0 only if both parts passed; what they print is not mixed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from itertools import takewhile


def main(arguments: list[str]) -> int:
    """Run both parts, print the second one as it goes and the first one at the end."""
    first = list(takewhile(lambda argument: argument != "--", arguments))
    second = arguments[len(first) + 1 :]
    with tempfile.TemporaryFile("w+") as output:
        measured = [sys.executable, "-m", "coverage", "run", "-m", "pytest", *first]
        beside = subprocess.Popen(measured, stdout=output, stderr=subprocess.STDOUT)
        try:
            code = subprocess.run([sys.executable, "-m", "pytest", *second], check=False).returncode
            code = beside.wait() or code
        finally:
            beside.kill()
            beside.wait()
        output.seek(0)
        print(output.read(), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
