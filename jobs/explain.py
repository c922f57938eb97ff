"""`python -m jobs.explain RUN`: shows settings, place, reason and last lines of one run."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from anlp.console.align import align
from anlp.console.command import add_json, make_parser, run_command, whole_number
from anlp.console.printable import plain
from anlp.console.verbs import command_name
from anlp.core.errors import EXIT_OK
from anlp.core.lease import Process
from anlp.core.units import render_duration
from anlp.records.results import RunState
from jobs.common.arguments import add_fresh
from jobs.common.terminal import STYLE_OF_STATE, Canvas, canvas_of, print_screen
from jobs.common.text import render_pairs
from jobs.runs.detail import Attempt, Explanation, explain
from jobs.runs.failures import Advice, describe
from jobs.runs.logs import read_progress
from jobs.runs.queries import locate_run
from jobs.schedulers.base import JobHandle
from jobs.views.json_output import report_json, run_json

MODULE = "jobs.explain"
LINES = 10
TEXT_WIDTH = 100
MODES = {"auto": "auto (online with a key, offline without)"}

EXAMPLES = """\
  python -m jobs.explain 3fa9        the run whose id begins with 3fa9
  python -m jobs.explain mnist 3fa9  the one in the grid mnist
  python -m jobs.explain 3fa9 --json"""


def make_arguments() -> argparse.ArgumentParser:
    """Return the command line of explain."""
    parser = make_parser(
        MODULE, "Shows all that is known about one run; changes nothing.", EXAMPLES
    )
    parser.usage = "%(prog)s [-h] [-n N] [--fresh] [--json] [GRID] RUN"
    parser.add_argument(
        "names", nargs="*", metavar="[GRID] RUN", help="a run by the beginning of its id"
    )
    parser.add_argument(
        "-n",
        "--lines",
        type=whole_number(1),
        default=LINES,
        metavar="N",
        help=f"lines of its log ({LINES})",
    )
    add_fresh(parser)
    add_json(parser, "all of it")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    Raises:
        UserError: something that the user can fix.
    """
    parser = make_arguments()
    args = parser.parse_args(argv)
    if len(args.names) not in (1, 2):
        parser.error("expected GRID RUN or RUN")
    target = locate_run(args.names, command_name(MODULE), fresh=args.fresh)
    found = explain(target.folder, target.every, target.status, args.lines, target.poller.reports)
    if args.json:
        print(json.dumps(explanation_json(found), allow_nan=False))
    else:
        print_screen(render_explanation(found, canvas_of(sys.stdout), time.time()))
    return EXIT_OK


def render_explanation(found: Explanation, canvas: Canvas, now: float) -> str:
    """Return the screen of `jobs.explain`."""
    status = found.status
    state = canvas.paint(status.state.value, STYLE_OF_STATE.get(status.state, "bold"))
    head = f"{canvas.paint(status.run_id, 'bold')} of {found.grid}: {state}{_reason(found)}"
    sections = [
        "\n".join(
            [head, *_advice_lines(found.advice, canvas), *_account_lines(found, canvas, now)]
        ),
        _section(
            canvas, "settings that vary in the grid", _wrap(render_pairs(found.varying), canvas)
        ),
        _section(canvas, "the same in every run", _wrap(render_pairs(found.others), canvas)),
        _section(canvas, "where", align(_places(found, now))),
        _section(
            canvas, "attempts", align([_attempt_row(attempt, now) for attempt in found.attempts])
        ),
        _section(canvas, "metrics", _wrap(render_pairs(_shown_metrics(found.metrics)), canvas)),
        _section(canvas, "last lines of its log", [canvas.clip(plain(line)) for line in found.log]),
        _section(
            canvas,
            "last lines of its job's output",
            [canvas.clip(plain(line)) for line in found.printed],
        ),
    ]
    return "\n\n".join(section for section in sections if section)


def _advice_lines(advice: Advice, canvas: Canvas) -> list[str]:
    lines = [f"  {line}" for line in _wrap(advice.text, canvas)]
    return lines + ([f"  {canvas.paint(advice.command, 'cyan')}"] if advice.command else [])


def _account_lines(found: Explanation, canvas: Canvas, now: float) -> list[str]:
    notes = [line for report in found.reports for line in report.render(now)]
    return [canvas.paint(f"  {line}", "yellow") for note in notes for line in _wrap(note, canvas)]


def _wrap(text: str, canvas: Canvas) -> list[str]:
    width = min(canvas.width or TEXT_WIDTH, TEXT_WIDTH) - 2
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _reason(found: Explanation) -> str:
    status = found.status
    arose = f" in {found.arose.replace(' in ', ', ')}" if found.arose else ""
    reason = (
        found.waits or describe(status) or (status.cause.value if status.cause else status.detail)
    )
    return f", {reason}{arose}" if reason else ""


def _places(found: Explanation, now: float) -> list[tuple[str, str]]:
    status, mirror = found.status, found.wandb
    submitted = f"{render_duration(now - status.since)} ago" if status.since else "never"
    handle = f" to {render_handle(status.handle)}" if status.handle else ""
    shared = f", a job of {status.in_job} runs" if status.in_job > 1 else ""
    project = f", project {mirror.project}" + (f", group {mirror.group}" if mirror.group else "")
    files = (
        f", files in {status.folder.wandb.name}/ of its folder"
        if status.folder.wandb.is_dir()
        else ""
    )
    saved = (
        "saved: the next attempt continues from it" if status.folder.checkpoint.exists() else "none"
    )
    return [
        ("submitted", submitted + handle + shared),
        (
            "folder",
            str(status.folder.path) + ("" if status.folder.path.is_dir() else " (not there yet)"),
        ),
        ("checkpoint", saved),
        (
            "wandb",
            MODES.get(mirror.mode, mirror.mode)
            + ("" if mirror.mode == "disabled" else project + files),
        ),
    ]


def render_handle(handle: JobHandle) -> str:
    """Render a handle: `local, process 123 on node7` or `slurm, job 4711, element 3`."""
    try:
        launcher = Process.from_id(handle.native_id)
    except ValueError:
        return f"{handle.scheduler}, job {handle.native_id}, element {handle.index}"
    return f"{handle.scheduler}, process {launcher.pid} on {launcher.host}, element {handle.index}"


def _attempt_row(attempt: Attempt, now: float) -> tuple[str, ...]:
    began = datetime.fromtimestamp(attempt.since).strftime("%Y-%m-%d %H:%M:%S")
    end = attempt.ended or (now if attempt.ending == "running" else None)
    took = render_duration(end - attempt.since) if end else ""
    return (
        str(attempt.number),
        began,
        f"process {attempt.pid} on {attempt.host}",
        attempt.ending,
        took,
    )


def _shown_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: float(f"{value:.5g}") if isinstance(value, float) else value
        for name, value in metrics.items()
    }


def _section(canvas: Canvas, title: str, lines: Sequence[str]) -> str:
    shown = [line for line in lines if line]
    return (
        "\n".join([canvas.paint(title, "bold"), *(f"  {line}" for line in lines)]) if shown else ""
    )


def explanation_json(found: Explanation) -> dict[str, Any]:
    """Return the value that `--json` prints: a run as `jobs.status --json` has it, and more."""
    status = found.status
    progress = read_progress(status) if status.state is RunState.RUNNING else None
    return {
        **run_json(status, progress),
        "grid": found.grid,
        "varying": dict(found.varying),
        "waits": found.waits,
        "advice": found.advice.text,
        "command": found.advice.command,
        "arose": found.arose,
        "attempts": [
            {name: getattr(attempt, name) for name in attempt.__slots__}
            for attempt in found.attempts
        ],
        "wandb": {
            "mode": found.wandb.mode,
            "project": found.wandb.project,
            "group": found.wandb.group,
        },
        "log": list(found.log),
        "printed": list(found.printed),
        "schedulers": [report_json(report) for report in found.reports],
    }


def cli() -> int:
    """Return the exit code of the command."""
    return run_command(main)


if __name__ == "__main__":
    sys.exit(cli())
