"""Runs that a user's own program logged with wandb itself, as their run folders would have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anlp.core.metrics import metric_name
from anlp.core.spec import RunSpec, epochs_in
from anlp.programs.sources.rows import EPOCH, EpochTable, flatten, number_of
from anlp.records.logged import result_of_log
from anlp.records.program import ProgramMetrics, declare_metrics
from anlp.records.results import Outcome, RunError, RunResult

if TYPE_CHECKING:
    from wandb.apis.public import Run

# of wandb's states, those that say how the program ended by itself
JUDGED = frozenset({"finished", "failed"})
_WORDS: Mapping[str, float] = {
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
}


def rows_of_program(history: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each epoch under the suite's names; values may be NaN or infinite."""
    rows = [dict(flatten(_with_numbers(row))) for row in history]
    table = EpochTable()
    for row in rows:
        table.add(row)
    if table.is_outdated:  # another column numbers the rows than the first one let expect
        table = table.renewed()
        for row in rows:
            table.add(row)
    table.close()
    return [_renamed(row) for row in table.rows()]


def result_of_program(
    run: Run, spec: RunSpec, rows: Sequence[Mapping[str, Any]], metrics: ProgramMetrics
) -> RunResult:
    """Return the result of a run that the program ended and the suite has told nothing of.

    Args:
        run: in one of the states `JUDGED`.
        spec: of the run.
        rows: one for each epoch.
        metrics: that matter.
    """
    if run.state == "failed":
        error = RunError("ExitCode", "wandb has it as failed, and does not say why", "")
        return RunResult(run.id, Outcome.FAILED, error=error)
    declare_metrics(metrics)
    summary = run.summary_metrics
    logged = result_of_log(rows, _numbers(summary), metrics)
    outcome, error_of = Outcome.OK, None
    if logged.is_missing:
        names = ", ".join(sorted(logged.metrics)) or "nothing"
        text = f"the program ended well but logged no {metrics.select}; it logged: {names}"
        outcome, error_of = Outcome.FAILED, RunError("MetricMissing", text, "")
    elif logged.is_diverged:
        outcome = Outcome.DIVERGED
    return RunResult(
        run_id=run.id,
        outcome=outcome,
        metrics=logged.metrics,
        epoch=logged.epoch,
        epochs=epochs_in(spec.settings.values()) or len(rows) or 1,
        seconds=number_of(summary.get("_runtime")) or 0.0,
        baselines=metrics.baselines,
        sizes=metrics.sizes,
        error=error_of,
        provenance={"select": logged.select, "report": metrics.report} if logged.select else {},
    )


def _numbers(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of wandb's summary under the suite's names."""
    found: dict[str, float] = {}
    for name, value in flatten(_with_numbers(dict(summary))):
        number = number_of(value)
        if number is not None and not name.startswith("_") and name not in (EPOCH, "step"):
            found.setdefault(metric_name(name), number)
    return found


def _with_numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row in which NaN and infinity are numbers; wandb writes them as text."""
    return {
        name: _WORDS.get(value, value) if isinstance(value, str) else value
        for name, value in row.items()
    }


def _renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        found.setdefault(name if name == EPOCH else metric_name(name), value)
    return found
