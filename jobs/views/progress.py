"""Shows a submission on this machine: live on a terminal, else as plain lines on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from anlp.console.printable import plain
from anlp.core import lease
from anlp.core.errors import EXIT_HELD
from anlp.core.json_text import parse_json
from anlp.core.spec import RunSpec
from anlp.core.units import render_duration
from anlp.records.crash import read_crash
from anlp.records.fingerprint import first_line
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.results import RunResult, RunState, read_result
from jobs.runs.status import Standing, classify, name_unwritable, result_that_counts
from jobs.schedulers.base import Cause, JobState, Phase, cause_of_record
from jobs.schedulers.local.events import (
    ElementEnded,
    ElementRequeued,
    ElementStarted,
    Event,
    Notice,
    Tick,
)
from jobs.views.progress_model import (
    SHORT_ID,
    WORDS,
    ProgressState,
    View,
    monitored_by,
    render_metric,
)

TAIL_BYTES = 1 << 13  # more than a line of metrics has
SUMMARY_EVERY_S = 10.0
REDRAW_EVERY_S = 0.2
MOST_LINES = 100  # up to this many runs, each finished one is a line where there is no terminal
STYLES = {
    RunState.FAILED: "red",
    RunState.LOST: "red",
    RunState.DIVERGED: "yellow",
    RunState.INTERRUPTED: "yellow",
}


class ProgressScreen:
    """Shows a submission while it runs; use as a context manager.

    Args:
        folder: of the grid.
        specs: the runs in the order of the submission, one per element.
        tag: of the submission.
        quiet: only failures and what the user must know.
        console: where to; stderr by default. Colours obey NO_COLOR.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        folder: GridFolder,
        specs: Sequence[RunSpec],
        tag: str,
        *,
        quiet: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._specs = specs
        self._tag = tag
        self._quiet = quiet
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._state = ProgressState(specs, clock())
        self._drawn = self._summed_up = clock()
        self._live: Live | None = None

    def __enter__(self) -> ProgressScreen:
        if self._console.is_terminal and not self._console.is_dumb_terminal and not self._quiet:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def on_event(self, event: Event) -> None:
        """Show what happened; redraw at most a few times a second."""
        now = self._clock()
        match event:
            case ElementStarted(index):
                self._state.start(index, now)
            case ElementRequeued(index):
                self._state.requeue(index)
            case ElementEnded():
                self._end(event)
            case Notice(text):
                self._say(Text(plain(text), style="yellow"))
            case Tick():
                self._look_at_runs()
        if self._live is not None:
            self._redraw(self._live, now)
        elif (
            not self._quiet
            and len(self._specs) > MOST_LINES
            and now - self._summed_up >= SUMMARY_EVERY_S
        ):
            self._summed_up = now
            self._say(Text(self._state.view(now).summary()))

    def _end(self, event: ElementEnded) -> None:
        spec = self._specs[event.index]
        standing, result = standing_of(event, self._folder.run(spec.run_id), self._tag)
        state, why = standing.state, why_of(standing, result)
        self._state.end(event.index, state)
        name = f"{spec.run_id[:SHORT_ID]} {self._state.label(event.index)}".strip()
        if state in (RunState.FAILED, RunState.LOST):
            log = self._folder.run(spec.run_id).log
            self._say(Text(plain(f"{WORDS[state]}  {name}: {why}\n  {log}"), style=STYLES[state]))
        elif self._live is None and not self._quiet and len(self._specs) <= MOST_LINES:
            ended = sum(self._state.view(self._clock()).counts.values())
            metric = render_metric(result.metrics, monitored_by(spec)) if result else why
            number = f"{ended}/{len(self._specs)}"
            words = f"{number}  {WORDS[state]}  {name}  {metric}  {event.seconds:.1f} s"
            self._say(Text(plain(words)))

    def _look_at_runs(self) -> None:
        for index in self._state.active:
            self._state.measure(
                index, last_line(self._folder.run(self._specs[index].run_id).metrics)
            )

    def _redraw(self, live: Live, now: float) -> None:
        if now - self._drawn >= REDRAW_EVERY_S:
            self._drawn = now
            live.update(
                draw(self._state.view(now), self._folder.name, rows=self._console.height - 4),
                refresh=True,
            )

    def _say(self, text: Text) -> None:
        """Print a line that stays, above the live display where there is one."""
        self._console.print(text, soft_wrap=True)


def standing_of(
    event: ElementEnded | None, folder: RunFolder, tag: str
) -> tuple[Standing, RunResult | None]:
    """Return the standing of a run after its element ended, and the result that counts.

    Args:
        event: the end; None for an element that was stopped before it started.
        folder: the run's.
        tag: of the submission.
    """
    found = read_result(folder)
    if event is None:
        return classify(None, None), None
    state = event.state
    if state.cause is Cause.DISK_FULL and (attempt := lease.read_latest(folder.attempts)):
        state = name_unwritable(state, attempt)
    # a killed process may leave the result of an earlier submission, which it was to replace
    result = found if state.cause is None else result_that_counts(found, tag)
    crash = read_crash(folder, tag) if result is None else None
    if crash is not None:  # its program died, and the process that started it says how
        cause = cause_of_record(crash.cause, crash.detail)
        return classify(JobState(Phase.ENDED, cause, crash.detail), None), None
    return classify(state, result, is_held=event.exit_code == EXIT_HELD), result


def why_of(standing: Standing, result: RunResult | None) -> str:
    """Return why a run has no result of use, in one line; where another process is at it, that."""
    if result is not None and result.error is not None:
        return first_line(f"{result.error.type}: {result.error.message}")
    return standing.why or standing.detail


def draw(view: View, name: str, *, rows: int) -> Group:
    """Return the live display: the bar, and a line for each of the first `rows` runs under way."""
    head = Table.grid(padding=(0, 1))
    head.add_row(
        Text(name, style="bold"),
        ProgressBar(view.total, view.progress, width=24),
        Text(view.summary()),
    )
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for _ in range(3):
        table.add_column(no_wrap=True, justify="right")
    for row in view.active[: max(1, rows)]:
        epoch = f"epoch {row.epoch}" if row.epoch else "starting"
        cells = (row.label, epoch, row.metric, render_duration(row.seconds))
        table.add_row(Text(f"  {row.run_id}", style="cyan"), *map(Text, cells))
    hidden = len(view.active) - max(1, rows)
    return Group(head, table, Text(f"  and {hidden} more")) if hidden > 0 else Group(head, table)


def last_line(path: Path) -> dict[str, Any] | None:
    """Return the last whole line of a file of JSON lines; None while there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
        found = parse_json(lines[-1]) if lines else None
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "epoch" in found else None
