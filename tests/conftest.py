"""Hypothesis profiles: "quick" by default, "thorough" in CI or with HYPOTHESIS_PROFILE=thorough."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Hypothesis has a profile of its own for CI, from which these would inherit: what matters is said, not inherited.
_ALIKE = settings(
    deadline=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("quick", _ALIKE, max_examples=100, stateful_step_count=30)
settings.register_profile("thorough", _ALIKE, max_examples=200, stateful_step_count=50)
# For mypy and pyright, never for Python: pytest would import it to look for doctests.
collect_ignore = ["typing/api.py"]

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "thorough" if os.environ.get("CI") else "quick"))
