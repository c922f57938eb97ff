"""Settings of property tests: the same examples in every run, and no bound on the time of one."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

repeatable = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
