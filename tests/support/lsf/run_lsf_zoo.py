"""Runs one element of the zoo, as `python -m anlp.run` runs a real one."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import zoo

EXIT_ESCAPED = 70


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=Path, required=True)
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--job", default="")
    given = parser.parse_args()
    print(f"element {given.index} prints", flush=True)
    try:
        return zoo.run(given.batch, given.index, job=given.job)
    except Exception:
        traceback.print_exc()
        return EXIT_ESCAPED


def warned(seconds: str) -> int:
    """Leaves with 3 at SIGUSR2, as runs do."""
    stop = threading.Event()
    signal.signal(signal.SIGUSR2, lambda *_: stop.set())
    return 3 if stop.wait(float(seconds)) else 0


zoo.BEHAVIOURS["warned"] = warned

if __name__ == "__main__":
    raise SystemExit(main())
