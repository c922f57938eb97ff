"""Deprecated entry point of jobs that were queued before 0.1.0; kept for one release."""

from __future__ import annotations

import os

from anlp.console.command import run_command
from anlp.runtime.container import exit_process
from anlp.runtime.slurm_task import main

if __name__ == "__main__":
    exit_process(run_command(main), os.environ)
