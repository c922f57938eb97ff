"""Processor seconds: bounds on them hold beside other work, where bounds on the time of day do
not.
"""

from __future__ import annotations

import resource


def processor_s() -> float:
    """Seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
