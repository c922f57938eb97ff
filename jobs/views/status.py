"""The screen of `jobs.status`: the state of a grid as text, from values that were read before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from anlp.console.align import align
from anlp.console.verbs import command_name
from anlp.core.units import (
    count,
    digits_apart,
    render_duration,
    render_hours,
    render_memory,
)
from anlp.records.cost import Cost
from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs.common.terminal import STYLE_OF_STATE, Canvas
from jobs.common.text import render_pairs
from jobs.runs.failures import FAILURES, FailureGroup, describe, group_failures
from jobs.runs.logs import Progress
from jobs.runs.polling import SchedulerReport
from jobs.runs.queries import best_runs, own_settings, selection_metric, varying_settings
from jobs.runs.status import RunStatus
from jobs.schedulers.base import can_never_run
from jobs.views.progress_model import render_metric

ROWS = 10  # of a section; --all shows everything
BEST = 5
IDS = 4  # of a group of failures
WAITS = 3  # reasons for which runs do not start
IN_SHORT = Canvas(width=44)  # a column of --all


@dataclass(frozen=True)
class Overview:
    """A grid at one moment.

    Args:
        folder: the grid's.
        every: all its runs.
        chosen: the runs that match the filter.
        only: the filter; empty: none.
        now: unix time.
        reports: what shared schedulers reported.
        progress: of running runs by id; those without an entry have not ended an epoch.
        held_back: why the circuit breaker skipped runs; empty: it did not.
        cost: of the chosen runs that ended; None where none did.
    """

    folder: GridFolder
    every: tuple[RunStatus, ...]
    chosen: tuple[RunStatus, ...]
    only: str
    now: float
    reports: tuple[SchedulerReport, ...] = ()
    progress: Mapping[str, Progress] = field(default_factory=dict)
    held_back: str = ""
    cost: Cost | None = None

    @cached_property
    def names(self) -> list[str]:
        """Return the settings that tell the runs of the grid apart."""
        return varying_settings(self.every)

    @cached_property
    def digits(self) -> int:
        """Return how many digits of numbers tell the runs apart; `explain` shows all."""
        return digits_apart([one.values.get(name) for one in self.every] for name in self.names)

    @cached_property
    def failures(self) -> list[FailureGroup]:
        """Return the chosen failed and lost runs by fingerprint, with what sets them apart."""
        return group_failures(self.every, self.chosen, self.names)

    def counts(self) -> dict[RunState, int]:
        """Return the number of chosen runs in each state that occurs, in `RunState`'s order."""
        counted = Counter(status.state for status in self.chosen)
        return {state: counted[state] for state in RunState if counted[state]}

    def of(self, *states: RunState) -> list[RunStatus]:
        """Return the chosen runs in these states."""
        return [status for status in self.chosen if status.state in states]

    def settings(self, status: RunStatus) -> str:
        """Return what tells a run apart from the others, as text."""
        return render_pairs(own_settings(status, self.names), self.digits)


def render_overview(overview: Overview, canvas: Canvas, *, every_run: bool = False) -> str:
    """Return the whole screen of `jobs.status`."""
    sections = [_headline(overview, canvas)]
    if every_run:
        sections.append(_every_run(overview, canvas))
    parts = (_running, _failures, _interrupted) if not every_run else (_failures, _interrupted)
    sections += [part(overview, canvas) for part in (*parts, _best, _cost, _next)]
    return "\n\n".join(section for section in sections if section)


def _headline(overview: Overview, canvas: Canvas) -> str:
    n, total = len(overview.chosen), len(overview.every)
    runs = f"{n} of {count(total, 'run')} ({overview.only})" if overview.only else count(n, "run")
    last = max((status.since or 0.0 for status in overview.every), default=0.0)
    ago = render_duration(overview.now - last)
    line = f"{overview.folder.name}: {runs}, submitted {ago} ago, in {overview.folder.path}"
    counts = overview.counts()
    width = len(str(total))
    painted = [
        canvas.paint(f"{number:>{width}} {state.value}", STYLE_OF_STATE.get(state, "bold"))
        for state, number in counts.items()
    ]
    notes = [
        canvas.paint(line, "yellow") for note in _notes(overview) for line in canvas.wrap(note)
    ]
    return "\n".join(
        [canvas.paint(line, "bold"), "  " + ("   ".join(painted) or "no run matches"), *notes]
    )


def _notes(overview: Overview) -> list[str]:
    """Return notes on the counts: an outage, old answers, runs that cannot start."""
    told = [line for report in overview.reports for line in report.render(overview.now)]
    states = (RunState.QUEUED, RunState.RUNNING)
    said = Counter(
        (state.value, status.detail)
        for state in states
        for status in overview.of(state)
        if status.detail
    )
    return told + [
        f"{number} {state}: {detail}" for (state, detail), number in said.most_common(WAITS)
    ]


def shown_running(overview: Overview, *, every_run: bool = False) -> list[RunStatus]:
    """Return the running runs whose progress the screen shows."""
    running = overview.of(RunState.RUNNING)
    return running if every_run else running[:ROWS]


def _running(overview: Overview, canvas: Canvas) -> str:
    running = overview.of(RunState.RUNNING)
    shown = shown_running(overview)
    rows = [
        (
            status.run_id,
            *_progress_cells(overview, status),
            _elapsed(status, overview.now),
            overview.settings(status),
        )
        for status in shown
    ]
    return _section(
        canvas, "running", len(running), _table(canvas, rows), hidden=len(running) - len(shown)
    )


def _progress_cells(overview: Overview, status: RunStatus) -> tuple[str, str]:
    progress = overview.progress.get(status.run_id)
    if progress is None:
        return "starting", ""
    monitored = str(status.values.get("monitor", ""))
    epoch = f"epoch {progress.epoch}/{progress.epochs}"
    return epoch, render_metric(progress.metrics, monitored)


def _elapsed(status: RunStatus, now: float) -> str:
    since = status.attempt.record.get("since") if status.attempt else None
    return render_duration(now - since) if since else ""


def _failures(overview: Overview, canvas: Canvas) -> str:
    lines = []
    for group in overview.failures[:ROWS]:
        lines.append(
            "  " + canvas.paint(canvas.clip(group.render()), STYLE_OF_STATE[group.runs[0].state])
        )
        ids = " ".join(status.run_id for status in group.runs[:IDS])
        more = len(group.runs) - IDS
        own = overview.settings(group.runs[0]) if len(group.runs) == 1 else ""
        if more > 0:
            ids += f" and {more} more"
        elif own:
            ids += f"  {own}"
        lines.append(canvas.clip(f"     {ids}"))
    n = sum(len(group.runs) for group in overview.failures)
    shown = sum(len(group.runs) for group in overview.failures[:ROWS])
    return _section(canvas, "failed and lost", n, lines, hidden=n - shown)


def _interrupted(overview: Overview, canvas: Canvas) -> str:
    stopped = overview.of(RunState.INTERRUPTED)
    causes = Counter(status.cause.value for status in stopped if status.cause)
    why = ", ".join(f"{number}x {cause}" for cause, number in causes.most_common())
    line = canvas.clip(f"  {why}; submit the grid again to continue from the last checkpoints")
    lines = [line] if stopped else []
    if stopped and overview.held_back:
        lines.append(canvas.clip(f"  held back: {overview.held_back}"))
    return _section(canvas, "interrupted", len(stopped), lines)


def _best(overview: Overview, canvas: Canvas) -> str:
    done = overview.of(RunState.DONE)
    metric = selection_metric(done)
    ranking = best_runs(done, metric)[:BEST] if metric else []
    rows = [(status.run_id, f"{value:.4f}", overview.settings(status)) for value, status in ranking]
    return _section(canvas, f"best of {len(done)} done by {metric}", None, _table(canvas, rows))


def _cost(overview: Overview, canvas: Canvas) -> str:
    found = overview.cost
    if found is None:
        return ""
    return _section(
        canvas,
        f"cost of {count(found.runs, 'run')} that ended",
        None,
        _table(canvas, render_cost(found)),
    )


def render_cost(cost: Cost) -> list[tuple[str, str]]:
    """Rows of a name and a sentence; what was not recorded is left out."""
    rows = [("time", _hours(cost.gpu_hours or 0.0, cost.cpu_hours or 0.0))]
    if cost.cpu_efficiency is not None:
        rows.append(("CPU", f"{cost.cpu_efficiency:.0%} of what was asked for was used"))
    if cost.peak_mib is not None:
        rows.append(("memory", _memory(cost.peak_mib, cost.asked_mib)))
    if cost.gpu_peak_mib is not None:
        rows.append(("GPU memory", f"{render_memory(cost.gpu_peak_mib)} at most"))
    if cost.wait_median_s is not None and cost.wait_p95_s is not None:
        median, most = render_duration(cost.wait_median_s), render_duration(cost.wait_p95_s)
        rows.append(("queue", f"half of the runs began within {median}, 95 % within {most}"))
    if cost.lost_attempts:
        attempts = f"{cost.lost_attempts:,} {'attempt' if cost.lost_attempts == 1 else 'attempts'}"
        hours = _hours(cost.lost_gpu_hours, cost.lost_cpu_hours)
        rows.append(("lost", f"{attempts} killed or failed: {hours}"))
    return rows


def _hours(gpu: float, cpu: float) -> str:
    in_cpus = render_hours(cpu, "CPU-hours")
    return f"{render_hours(gpu, 'GPU-hours')}, {in_cpus}" if gpu else in_cpus


def _memory(peak_mib: float, asked_mib: float | None) -> str:
    peak = render_memory(peak_mib)
    if asked_mib is None:
        return f"{peak} at most"
    return f"{peak} of {render_memory(asked_mib)} asked for, at most"


def _every_run(overview: Overview, canvas: Canvas) -> str:
    metric = selection_metric(overview.of(RunState.DONE))
    rows = [
        (
            status.run_id,
            status.state.value,
            IN_SHORT.clip(_in_short(overview, status, metric)),
            overview.settings(status),
        )
        for status in overview.chosen
    ]
    return "\n".join(_table(canvas, rows))


def _in_short(overview: Overview, status: RunStatus, metric: str | None) -> str:
    """Return the one thing to know about a run: its metric, its progress, or what ended it."""
    if status.state is RunState.RUNNING:
        return " ".join(_progress_cells(overview, status)).strip()
    if status.state in FAILURES:
        return describe(status)
    if status.state is RunState.INTERRUPTED:
        return status.cause.value if status.cause else ""
    value = status.result.metrics.get(metric) if status.result and metric else None
    return f"{metric} {value:.4f}" if value is not None else ""


def _next(overview: Overview, canvas: Canvas) -> str:
    """Return what to type next, in this state of the grid."""
    name = overview.folder.name
    n_failed = len(overview.of(*FAILURES))
    hints: list[tuple[str, str, str]] = []  # module, options, what it shows
    if any(status.state.is_active for status in overview.chosen):
        hints.append(("jobs.status", " --watch", "this screen, live"))
    if choice := _choice_of_never(overview):
        hints.append(("jobs.cancel", choice, "take back what can never run, then ask for less"))
    if n_failed:
        hints.append(("jobs.logs", " --failed", "the last lines of each kind of failure"))
        hints.append(("jobs.retry", "", f"once more: {count(n_failed, 'failed or lost run')}"))
    if overview.of(RunState.DONE):
        hints.append(("analysis.tables", "", "the results table"))
    rows = [(f"{command_name(module)} {name}{more}", shows) for module, more, shows in hints]
    return "\n".join([canvas.paint("next", "bold"), *_table(canvas, rows)]) if rows else ""


def _choice_of_never(overview: Overview) -> str:
    """Return the option that chooses the runs which can never start; empty where none is short."""
    queued = overview.of(RunState.QUEUED)
    never = [status.run_id for status in queued if can_never_run(status.detail)]
    if never and len(never) == len(queued):
        return " --only state=queued"
    return f" --only id={','.join(never)}" if 0 < len(never) <= IDS else ""


def _table(canvas: Canvas, rows: Sequence[Sequence[str]]) -> list[str]:
    return [canvas.clip("  " + line) for line in align(rows)] if rows else []


def _section(
    canvas: Canvas, title: str, n: int | None, lines: Sequence[str], *, hidden: int = 0
) -> str:
    if not lines:
        return ""
    number = f" ({n})" if n is not None else ""
    more = [f"  and {hidden} more: --all lists them"] if hidden > 0 else []
    return "\n".join([canvas.paint(title + number, "bold"), *lines, *more])
