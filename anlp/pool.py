"""Deprecated entry point: use `python -m anlp.runtime.pool`; kept for one release."""

from __future__ import annotations

import sys

from anlp.console.command import run_command
from anlp.runtime.pool import main

if __name__ == "__main__":
    sys.exit(run_command(main))
