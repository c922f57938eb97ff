"""Render a batch for Slurm: the sbatch script, and the arguments of the calls."""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anlp.core.errors import EXIT_REQUEUE, SchedulerError
from jobs.config.resources import Resources
from jobs.containers.apptainer import EXIT_NOT_STARTED, Container
from jobs.schedulers.base import EXIT_SETUP, Batch

RUNNER = "anlp.run:run_element"
# submitit takes a signal in the last 10 minutes for the time limit's; Slurm sends up to 60 s early
MOST_MARGIN_S = 480
# Slurm's wrappers for PBS give its jobs both kinds of variables
ENVIRONMENT_PREFIXES = ("PBS_", "SLURM_")

FIRST = '--first "${1:?first element of this array}"'
IN_IMAGE = """\
# SIGUSR2 warns of the time limit or of preemption. \
This shell alone gets it, and hands it to the program alone:
# the process that mounts the image has to live on. \
SIGTERM goes to everybody; it ends no script that still waits.
program=
signalled=
trap 'signalled=1; [ -z "$program" ] || kill -s USR2 "$program"' USR2
trap 'signalled=1' TERM
(
    trap '' USR2
    exec COMMAND
) &
program=$!
# a signal ends `wait` early; the code of the program is what counts
code=
while :; do
    signalled=
    wait "$program"
    now=$?
    if [ "$now" -eq 127 ] && [ -n "$code" ]; then break; fi
    code=$now
    if [ -z "$signalled" ]; then break; fi
done
if [ "$code" -eq REQUEUE ]; then \
# it has saved a checkpoint and may be continued, and there is no scontrol in an image
    code=3
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}" ||
        echo "could not requeue; the next submit continues it" >&2
fi
if [ "$code" -eq NOT_STARTED ]; then code=SETUP; fi \
# the container did not start; accounts cut 255 down to 127
exit "$code"
"""

# Options that this tool gives, and what to use instead of them.
MANAGED: Mapping[str, str] = {
    "array": "max_parallel",
    "chdir": "",
    "clusters": "",  # its jobs would be looked for on this one
    "constraint": "constraint",
    "cpus-per-task": "cpus",
    "error": "",
    "exclude": "exclude",
    "gpus": "gpus",
    "gpus-per-node": "gpus",
    "gpus-per-task": "gpus",
    "account": "account",
    "help": "",
    "input": "",
    "job-name": "",
    "mem": "mem",
    "mem-per-cpu": "mem",
    "mem-per-gpu": "mem",
    "no-requeue": "",
    "nodes": "nodes",
    "ntasks": "nodes",
    "ntasks-per-node": "nodes",
    "open-mode": "",
    "output": "",
    "parsable": "",
    "partition": "queue",
    "qos": "qos",
    "quiet": "",
    "requeue": "",
    "signal": "",
    "test-only": "",
    "time": "time",
    "version": "",
    "wait": "",
    "wrap": "",
}


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """Says how elements are run on the nodes; tests put other runners in."""

    python: tuple[str, ...] = (sys.executable,)  # what runs Python on a node
    container: Container | None = None  # the image whose Python is taken instead
    runner: str = RUNNER
    margin_s: int = 90  # warned so long before the time limit
    continuations: int = 20  # of one element after its time limit; preemption does not count


def folder_of(batch: Batch) -> Path:
    """Return the folder of the script and of what the elements print: `batches/3.slurm`."""
    return batch.path.with_suffix(".slurm")


def output_of(batch: Path, native_id: str, index: int) -> Path:
    """Return the file with what one task printed, and Slurm's own lines about its end."""
    return batch.with_suffix(".slurm") / f"{native_id}_{index}.out"


def render_script(batch: Batch, resources: Resources, options: SlurmOptions, cwd: Path) -> str:
    """Return the one script of a batch, whose argument is the first element of an array.

    Args:
        batch: with an absolute path.
        resources: what each element asks for.
        options: how it is run there.
        cwd: where elements start.

    Raises:
        SchedulerError: something cannot be written so that Slurm reads it as it is meant.
    """
    directives = [
        f"#SBATCH {_render_option(name, value)}"
        for name, value in directives_of(batch, resources, options, cwd)
    ]
    words = ["-m", "anlp.runtime.slurm_task", "--batch", str(batch.path)]
    words += ["--continuations", str(options.continuations)]
    words += ["--limit-min", str(limit_min(resources) or 0)]
    if options.runner != RUNNER:
        words += ["--runner", options.runner]
    start = _render_start(words, options)
    if options.container is not None:
        start = _render_image(words, options.container)
    path = shlex.quote(_plain(str(batch.path)))
    script = shlex.quote(_plain(str(folder_of(batch) / "job.sh")))
    lines = [
        "#!/bin/bash",
        f"# Runs elements of {path}: task i of the array is element $1 + i.",
        f"# By hand: sbatch --array=0-{batch.size - 1} {script} 0",
        *directives,
        "",
        *start,
        "",
    ]
    return "\n".join(lines)


def _render_start(words: Sequence[str], options: SlurmOptions) -> list[str]:
    return [
        "# SIGUSR2 warns of the time limit or of preemption; "
        "it must not end what does not listen yet",
        "trap '' USR2",
        "export SUBMITIT_EXECUTOR=slurm",
        f"exec {shlex.join([*options.python, *words])} {FIRST}",
    ]


def _render_image(words: Sequence[str], container: Container) -> list[str]:
    """Start it in an image: the script stays, to hand the warning on and to requeue."""
    command = container.exec_argv(
        "sh", "-c", f'trap "" USR2; {container.start_python}', "sh", *words, "--in-image"
    )
    exports = [
        "export SUBMITIT_EXECUTOR=slurm",
        *container.passing(ENVIRONMENT_PREFIXES).render_exports(),
    ]
    numbers = {"REQUEUE": EXIT_REQUEUE, "NOT_STARTED": EXIT_NOT_STARTED, "SETUP": EXIT_SETUP}
    text = IN_IMAGE
    for name, number in numbers.items():
        text = text.replace(name, str(number))
    return [*exports, *text.replace("COMMAND", f"{shlex.join(command)} {FIRST}").splitlines()]


def directives_of(
    batch: Batch, resources: Resources, options: SlurmOptions, cwd: Path
) -> list[tuple[str, str | None]]:
    """Return names and values of the `#SBATCH` lines; None for an option without a value.

    Raises:
        SchedulerError: resources that Slurm cannot be asked for.
    """
    if resources.gpu_type and not resources.gpus:
        raise SchedulerError(
            f"slurm: gpu_type: {resources.gpu_type!r} needs a number of gpus above 0"
        )
    if not 1 <= options.margin_s <= MOST_MARGIN_S:
        raise SchedulerError(
            f"slurm: margin_s: expected 1 to {MOST_MARGIN_S} seconds, got {options.margin_s}"
        )
    time_min = limit_min(resources)
    kind = f"{resources.gpu_type}:" if resources.gpu_type else ""
    given: list[tuple[str, str | int | None]] = [
        ("partition", resources.queue),
        ("account", resources.account),
        ("qos", resources.qos),
        ("constraint", resources.constraint),
        ("exclude", resources.exclude),
        ("nodes", resources.nodes),
        ("ntasks-per-node", 1),
        ("cpus-per-task", resources.cpus),
        ("gres", f"gpu:{kind}{resources.gpus}" if resources.gpus else None),
        ("mem", f"{resources.mem_mib}M" if resources.mem_mib else None),
        ("time", time_min),
    ]
    output = str(folder_of(batch)).replace("%", "%%") + "/%A_%a.out"
    ours: list[tuple[str, str | None]] = [
        ("chdir", str(cwd)),
        ("output", output),
        ("open-mode", "append"),
        ("requeue", None),
        ("signal", f"B:USR2@{options.margin_s}"),
    ]
    wanted = [(name, str(value)) for name, value in given if value is not None]
    return [
        *wanted,
        *parse_extra(resources.extra, has_gpus=resources.gpus > 0, waits=bool(batch.after)),
        *ours,
    ]


def limit_min(resources: Resources) -> int | None:
    """Return the time limit as Slurm counts it, in whole minutes; None: the queue's default."""
    if resources.walltime_min is None:
        return None
    return max(1, math.ceil(resources.walltime_min - 1e-9))


def parse_extra(
    extra: Sequence[str], *, has_gpus: bool = False, waits: bool = False
) -> list[tuple[str, str | None]]:
    """Return names and values of options that are passed on as they are.

    Raises:
        SchedulerError: not in the form `--option=value`, or an option that this tool gives itself.
    """
    options: list[tuple[str, str | None]] = []
    for text in extra:
        match = re.fullmatch(r"--([a-z][a-z-]*)(?:=(.+))?", text, re.DOTALL)
        if not match:
            raise SchedulerError(f"slurm: extra: expected --option=value or --option, got {text!r}")
        _refuse_managed(match[1], has_gpus=has_gpus, waits=waits)
        options.append((match[1], match[2]))
    return options


def _refuse_managed(name: str, *, has_gpus: bool, waits: bool) -> None:
    """Refuse managed options and their beginnings: Slurm reads `--out` as `--output`."""
    managed = next((known for known in MANAGED if known.startswith(name)), None)
    if managed is None and name == "gres" and has_gpus:
        raise SchedulerError(
            "slurm: extra: --gres is given by gpus and gpu_type here; remove one of them"
        )
    if managed is None and waits and "dependency".startswith(name):
        raise SchedulerError(
            "slurm: extra: --dependency is given by --canary here; leave one of the two out"
        )
    if managed is not None:
        instead = f"use {MANAGED[managed]} instead" if MANAGED[managed] else "it cannot be changed"
        raise SchedulerError(f"slurm: extra: --{name} is given by this tool; {instead}")


def render_call(
    batch: Batch, script: Path, span: range, parallel: int | None = None, behind: str | None = None
) -> list[str]:
    """Return the arguments of the sbatch call for the elements of `span`.

    Args:
        batch: all elements.
        script: of the batch.
        span: the elements of this array.
        parallel: at most so many of them at a time.
        behind: an array that has to end first, well or not.
    """
    throttle = f"%{parallel}" if parallel else ""
    array = f"--array=0-{len(span) - 1}{throttle}"
    name = batch.job_name(span.start)
    return [
        "sbatch",
        "--parsable",
        f"--job-name={name}",
        array,
        *_render_dependency(batch.after, behind),
        str(script),
        str(span.start),
        name,  # the script ignores it; by it a job is found that the site has renamed
    ]


def _render_dependency(after: Sequence[str], behind: str | None) -> list[str]:
    """Let the array wait until all of `after` ended well; Slurm cancels it once one did not."""
    wanted, options = [], []
    if after:
        wanted.append(f"afterok:{':'.join(after)}")
        options.append("--kill-on-invalid-dep=yes")
    if behind:
        wanted.append(f"afterany:{behind}")
    return [f"--dependency={','.join(wanted)}", *options] if wanted else []


def _render_option(name: str, value: str | None) -> str:
    return f"--{name}" if value is None else f"--{name}={shlex.quote(_plain(value, name))}"


def _plain(text: str, name: str = "path") -> str:
    if not text or re.search(r"""[\x00-\x1f\x7f'"\\`$]""", text):
        raise SchedulerError(
            f"slurm: {name}: {text!r} cannot stand in a job script: "
            "it is empty or has a quote, a backslash, a $ or a line end"
        )
    return text
