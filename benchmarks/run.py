"""Owns `make bench`: every ratio in one run, against the bar it must hold, and `benchmarks/latest.json`.

Never runs in the tests: a ratio says something only on a machine that does nothing else. Exit code 1 when a bar is
missed.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

import psutil

from benchmarks.decode import avro_decode_to_reference, json_decode_to_orjson
from benchmarks.freshness import choose_to_max, freshness_to_optimum_steady
from benchmarks.replaying import replay_to_streaming
from benchmarks.starting import DRAIN_BAR, READY_BAR, slowest
from benchmarks.streaming import Ground, end_to_end, resident_memory

LATEST = Path(__file__).parent / "latest.json"
BARS = {  # name → (what, bar, whether more is better)
    "end_to_end_avro_cpu_to_floor": ("CPU of the whole path, as a multiple of a bare consume() loop", 3.0, False),
    "avro_decode_to_reference": ("Avro decoding, times faster than fastavro and Table.from_pylist", 10.0, True),
    "json_decode_to_orjson": ("JSON decoding, times faster than orjson.loads alone", 1.0, True),
    "replay_cpu_to_streaming": ("CPU of a replay, as a multiple of streaming the same messages", 1.1, False),
    "rss_mb_5gb_20_tables": ("Resident memory while 5 GB flow through 20 tables, MB", 400.0, False),
    "freshness_to_optimum_steady": ("Mean weighted wait for a push at steady rates, to the optimum", 1.05, False),
    "start_to_ready_seconds": (
        "Start to ready, of which a new group waits 3 s for members, seconds",
        READY_BAR,
        False,
    ),
    "idle_drain_seconds": ("SIGTERM to the end of an idle replica, seconds", DRAIN_BAR, False),
    "choose_1000_to_max": ("Choosing among 1,000 tables, as a multiple of max() by area", 10.0, False),
}


def main() -> int:
    """Measure, print a table, write the file; return the exit code."""
    choosing, milliseconds = choose_to_max()
    ratios = {
        "avro_decode_to_reference": avro_decode_to_reference(),
        "json_decode_to_orjson": json_decode_to_orjson(),
        "freshness_to_optimum_steady": freshness_to_optimum_steady(),
        "choose_1000_to_max": choosing,
    }
    with Ground() as ground:
        ratios["end_to_end_avro_cpu_to_floor"], flat = end_to_end(ground)
        ratios["replay_cpu_to_streaming"], replayed = replay_to_streaming(ground)
        memory = resident_memory(ground)
        ratios["rss_mb_5gb_20_tables"] = memory.rss
    ratios["start_to_ready_seconds"], ratios["idle_drain_seconds"] = slowest()
    LATEST.write_text(json.dumps({"machine": machine(), "ratios": ratios}, indent=2) + "\n")
    print(f"On {machine()}; 2,000,000 flat records took {flat.seconds:.0f} s, 5 GB took {memory.seconds:.0f} s.")
    print(f"2,000,000 replayed records took {replayed.cpu / 2:.2f} CPU s a million and {replayed.rss:.0f} MB.")
    print(f"Choosing whom to push among 1,000 tables took {milliseconds:.1f} ms.\n")
    print("| measured | bar | found |\n|---|---|---|")
    missed = 0
    for name, (what, bar, more) in BARS.items():
        missed += (ratios[name] < bar) if more else (ratios[name] > bar)
        print(f"| {what} | {'≥' if more else '≤'} {bar:g} | {ratios[name]:.2f} |")
    return 1 if missed else 0


def machine() -> str:
    """Return what this machine is, in a few words."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    model = names[0] if names else platform.processor()
    memory = psutil.virtual_memory().total >> 30
    return f"{os.cpu_count()} cores of {model}, {memory} GiB, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
