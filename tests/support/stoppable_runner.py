"""A runner that trains nothing and listens as runs do, for tests of what surrounds it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from anlp.core.stop_flag import stop_flag


def run(batch: Path, index: int, *, job: str) -> int:
    """Says that it is ready, and leaves with 3 when it is asked to stop; an index above 100 makes
    it fail.
    """
    if index > 100:
        raise RuntimeError("a fault in the runner")
    if os.environ.get("LOADS_SLOWLY"):
        batch.with_name("ready").touch()
        time.sleep(1)
    with stop_flag() as flag:
        batch.with_name("ready").write_text(f"{os.getpid()} {index} {job}")
        deadline = time.monotonic() + 120
        while not flag.is_set() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)  # as for a checkpoint, so that a second signal finds it here
    return 3 if flag.is_set() else 0
