"""tmp"""

from anlp.records.crash import CrashRecord
from anlp.records.results import RunError


def error_of(ended):
    return RunError("ExitCode", f"exit code {ended.code}", ended.last_stderr)


def loss_of(number, *, out_of_memory):
    return CrashRecord("killed by a signal", f"signal {number}")
