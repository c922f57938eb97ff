"""Render a batch for LSF: the script that bsub reads, and the arguments of the calls."""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anlp.core.errors import SchedulerError
from jobs.config.resources import Resources
from jobs.containers.apptainer import Container
from jobs.schedulers.base import EXIT_SETUP, Batch
from jobs.schedulers.batch import Piece

ENVIRONMENT_PREFIXES = ("LSB_", "LSF_")
# `bsub` reads the script on stdin; what it waits for is not in the script, to be submitted by hand
BSUB = 'exec bsub "$@" < "$0"'

# Options that this tool gives, and what to use instead of them.
MANAGED: Mapping[str, str] = {
    "-J": "max_parallel",
    "-M": "mem",
    "-P": "account",
    "-W": "time",
    "-cwd": "",
    "-e": "",
    "-eo": "",
    "-gpu": "gpus and gpu_type",
    "-i": "",
    "-m": "constraint",
    "-n": "cpus",
    "-o": "",
    "-oo": "",
    "-q": "queue",
    "-r": "",
    "-ti": "",
    "-w": "--canary",
    "-wa": "",
    "-wt": "warn in the site profile",
    "-I": "",
    "-Is": "",
    "-K": "",
}
_TOKEN = re.compile(r"[A-Za-z0-9_.+:/@-]+")


@dataclass(frozen=True, slots=True)
class Start:
    """Says how an element is started on a node; tests put other runners in."""

    cwd: Path
    runner: tuple[str, ...] = (sys.executable, "-m", "anlp.run")
    container: Container | None = None  # the image whose runscript is taken instead of the runner
    warn_s: float = 120.0  # before the time limit; 0: never

    @property
    def words(self) -> tuple[str, ...]:
        """Return what stands before `--batch`."""
        return self.runner if self.container is None else self.container.run_argv()


def script_of(batch: Path, first: int) -> Path:
    """Return where the script of a piece is kept."""
    return batch.with_suffix(f".{first}.lsf.sh")


def folder_of(batch: Path) -> Path:
    """Return the folder of what the elements print: `batches/3.lsf`."""
    return batch.with_suffix(".lsf")


def output_of(batch: Path, native_id: str, index: int) -> Path:
    """Return the file with what one element printed; LSF counts from 1."""
    return folder_of(batch) / f"{native_id}.{index + 1}.out"


def render_argv(batch: Batch, piece: Piece) -> list[str]:
    """Return the arguments of the submit call.

    The job waits until all of `after` ended well; LSF ends it once one did not (`-ti`).
    """
    waits = []
    if batch.after:
        waits = ["-w", " && ".join(f"done({native_id})" for native_id in batch.after), "-ti"]
    return ["sh", "-c", BSUB, str(script_of(batch.path, piece.first)), *waits]


def render_script(batch: Batch, piece: Piece, resources: Resources, start: Start) -> str:
    """Return the script of one call of bsub.

    Args:
        batch: with an absolute path.
        piece: the elements that the job covers.
        resources: what each asks for.
        start: how elements are started.

    Raises:
        SchedulerError: something that LSF cannot be asked for.
    """
    batch_words = ["--batch", str(batch.path)]
    script = shlex.quote(str(script_of(batch.path, piece.first)))
    exports = []
    if start.container is not None:
        exports = start.container.passing(ENVIRONMENT_PREFIXES).render_exports()
    folder = shlex.quote(str(start.cwd))
    lines = [
        "#!/bin/bash",
        *(f"#BSUB {line}" for line in render_directives(batch, piece, resources, start)),
        f"# Runs elements {piece.first} to {piece.first + piece.size - 1} of "
        f"{shlex.quote(str(batch.path))}.",
        f"# All of it again: bsub < {script}",
        "",
        "# USR2 warns of the time limit; it must not end what does not listen yet",
        "trap '' USR2",
        f"cd {folder} || exit {EXIT_SETUP}",
        *exports,
        f"exec {shlex.join([*start.words, *batch_words])} "
        f'--index "$(({piece.first} + LSB_JOBINDEX - 1))" '
        '--job "lsf:${LSB_JOBID}[${LSB_JOBINDEX}]"',
        "",
    ]
    return "\n".join(lines)


def render_directives(batch: Batch, piece: Piece, resources: Resources, start: Start) -> list[str]:
    """Return what stands behind `#BSUB`, in order.

    Raises:
        SchedulerError: something that LSF cannot be asked for.
    """
    check_resources(resources)
    limit = f"%{piece.most}" if piece.most and piece.most < piece.size else ""
    lines = [f'-J "{batch.job_name(piece.first)}[1-{piece.size}]{limit}"']
    for option, value in (("-q", resources.queue), ("-P", resources.account)):
        lines += [f"{option} {value}"] if value else []
    lines += [f"-n {resources.cpus}", f'-R "{_render_requirements(resources)}"']
    if resources.mem_mib is not None:
        lines.append(f"-M {resources.mem_mib}MB")
    if resources.gpus:
        kind = f":gmodel={resources.gpu_type}" if resources.gpu_type else ""
        lines.append(f'-gpu "num={resources.gpus}{kind}"')
    lines += _render_limit(resources.walltime_min, start.warn_s)
    lines += [f'-o "{_plain(folder_of(batch.path))}/%J.%I.out"', "-r"]
    return [*lines, *resources.extra]


def check_resources(resources: Resources) -> None:
    """Return if LSF can be asked for `resources`.

    Raises:
        SchedulerError: a field that LSF has nothing for, or a value that it would misread.
    """
    if resources.qos is not None:
        raise SchedulerError("lsf: qos: LSF has none; name a queue, or give -sla with extra")
    if resources.nodes != 1:
        raise SchedulerError(f"lsf: nodes: a run uses one node, got {resources.nodes}")
    if resources.gpu_type and not resources.gpus:
        raise SchedulerError(
            f"lsf: gpu_type: {resources.gpu_type!r} needs a number of gpus above 0"
        )
    words = {"queue": resources.queue, "account": resources.account, "gpu_type": resources.gpu_type}
    for name, value in words.items():
        if value is not None and not _TOKEN.fullmatch(value):
            raise SchedulerError(
                f"lsf: {name}: expected letters, digits and _.+:/@-, got {value!r}"
            )
    for option in resources.extra:
        _check_extra(option)


def _check_extra(option: str) -> None:
    match = re.fullmatch(r"(-[A-Za-z]+)(?:\s+(\S.*))?", option)
    if match is None or not option.isprintable():
        raise SchedulerError(
            f"lsf: extra: expected an option of bsub such as '-sp 10', got {option!r}"
        )
    if match[1] in MANAGED:
        instead = MANAGED[match[1]]
        advice = f"use {instead} instead" if instead else "it cannot be changed"
        raise SchedulerError(f"lsf: extra: {match[1]} is given by this tool; {advice}")


def _render_requirements(resources: Resources) -> str:
    """Return the resource requirement: hosts that fit, memory that is set aside, one host."""
    selects = []
    if resources.constraint is not None:
        if not re.fullmatch(r"[A-Za-z0-9_.<>=!&|() -]+", resources.constraint):
            raise SchedulerError(
                "lsf: constraint: expected a selection such as a100 or maxmem>64000, "
                f"got {resources.constraint!r}"
            )
        selects.append(f"({resources.constraint})")
    for node in (resources.exclude or "").split(","):
        if node and not re.fullmatch(r"[A-Za-z0-9_.-]+", node):
            raise SchedulerError(
                f"lsf: exclude: expected names of nodes with commas, got {resources.exclude!r}"
            )
        if node:
            selects.append(f"hname!='{node}'")
    parts = [f"select[{' && '.join(selects)}]"] if selects else []
    if resources.mem_mib is not None:
        parts.append(f"rusage[mem={resources.mem_mib}MB]")
    return " ".join([*parts, "span[hosts=1]"])


def _render_limit(walltime_min: float | None, warn_s: float) -> list[str]:
    """Return the time limit in whole minutes and the warning before it, where it has room.

    LSF warns in whole minutes, and sends USR2 at the limit as well, some minutes before it kills.
    """
    if walltime_min is None:
        return []
    limit = max(1, math.ceil(walltime_min - 1e-9))
    warning = math.ceil(warn_s / 60)
    lines = [f"-W {limit}"]
    return [*lines, f"-wt {warning}", "-wa USR2"] if 0 < warning < limit else lines


def _plain(path: Path) -> str:
    """Return a path that a directive can hold."""
    if not path.is_absolute() or not re.fullmatch(r"[A-Za-z0-9_./+=@~:, -]+", str(path)):
        raise SchedulerError(
            f"lsf: {path}: LSF cannot write to a path with other characters than letters, digits "
            "and _./+=@~:,-; set ANLP_RUNS to another folder"
        )
    return str(path)
