"""Owns the profile of the laws: the same examples in every run, and no clock.

LAW_EXAMPLES=5000 searches: as many examples a law, and others in every run.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "laws",
    deadline=None,
    derandomize="LAW_EXAMPLES" not in os.environ,
    max_examples=int(os.environ.get("LAW_EXAMPLES", "100")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
)
settings.load_profile("laws")
