"""Runs one scripted element, as `python -m anlp.run` runs a real one."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.support import scripted_elements

EXIT_ESCAPED = 70


def warned(seconds: str) -> int:
    """Leaves with 3 at SIGUSR2, as runs do."""
    stop = threading.Event()
    signal.signal(signal.SIGUSR2, lambda *_: stop.set())
    scripted_elements.say_ready()
    return 3 if stop.wait(float(seconds)) else 0


scripted_elements.BEHAVIOURS["warned"] = warned

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=Path, required=True)
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--job", default="")
    given = parser.parse_args()
    print(f"element {given.index} prints", flush=True)
    try:
        code = scripted_elements.run(given.batch, given.index, job=given.job)
    except Exception:
        traceback.print_exc()
        code = EXIT_ESCAPED
    raise SystemExit(code)
