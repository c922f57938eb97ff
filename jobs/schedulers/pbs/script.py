"""Render a batch for PBS: the one readable script that qsub gets, and its arguments."""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anlp.core.errors import EXIT_SKIPPED, SchedulerError
from anlp.records import circuit_breaker
from jobs.config.resources import Resources
from jobs.containers.apptainer import Container
from jobs.schedulers.base import EXIT_SETUP, Batch
from jobs.schedulers.batch import Piece
from jobs.schedulers.pbs.profile import PbsProfile
from jobs.schedulers.pbs.validate import Dialect, check_resources, render_dependency

SHARE_OF_WARNING = 0.2  # of a short time limit
# Slurm's wrappers for Torque give their jobs both kinds of variables
ENVIRONMENT_PREFIXES = ("PBS_", "SLURM_")


@dataclass(frozen=True, slots=True)
class Start:
    """Says how an element is started on a node."""

    cwd: Path
    runner: tuple[str, ...] = (sys.executable, "-m", "anlp.run")
    code: Path | None = None  # directory of the packages, where Python does not find them by itself
    container: Container | None = None  # the image whose runscript is taken instead of the runner

    @property
    def words(self) -> tuple[str, ...]:
        """Return what stands before `--batch`."""
        return self.runner if self.container is None else self.container.run_argv()


def script_of(batch: Path, first: int) -> Path:
    """Return where the script of a piece is kept."""
    return batch.with_suffix(f".{first}.pbs.sh")


def output_folder_of(batch: Path) -> Path:
    """Return where PBS puts what jobs print, `batches/3.out`; it must exist before."""
    return batch.with_suffix(".out")


def output_of(batch: Path, first: int, index: int) -> Path:
    """Return the file with what a sub-job of PBS Pro printed; its job begins with `first`."""
    return output_folder_of(batch) / f"{first}.{index}.log"


def find_output(batch: Path, first: int, native_id: str, index: int) -> Path:
    """Return that file for any dialect: Torque names those of sub-jobs itself, `NAME.o123-4`."""
    number = native_id.partition("[")[0].partition(".")[0]
    named = sorted(output_folder_of(batch).glob(f"*.o{number}-{index}"))
    return named[0] if named else output_of(batch, first, index)


def render_directives(
    batch: Batch, piece: Piece, resources: Resources, profile: PbsProfile, dialect: Dialect
) -> list[str]:
    """Return what stands behind `#PBS`, in order.

    Raises:
        SchedulerError: something that PBS cannot be asked for, or would accept and read otherwise.
    """
    check_resources(resources, profile, dialect)
    lines = [f"-N {batch.job_name(piece.first)}", *_render_request(resources, profile, dialect)]
    if resources.queue:
        lines.append(f"-q {resources.queue}")
    if resources.account:
        lines.append(f"-A {resources.account}")
    lines += ["-j oe", f"-o {_render_output(batch, piece, dialect)}", "-r y"]
    if not any(option.startswith("-m") for option in resources.extra):
        lines.append("-m n")
    if piece.is_array:
        option = "-J" if dialect is Dialect.PRO else "-t"
        limit = f"%{piece.most}" if piece.most and piece.most < piece.size else ""
        lines.append(f"{option} 0-{piece.size - 1}{limit}")
    return [*lines, *_render_umask(resources, profile, dialect), *resources.extra]


def render_options(batch: Batch, piece: Piece, dialect: Dialect) -> list[str]:
    """Return what qsub is given besides the script.

    What a job waits for is not in its script, which may be submitted again by hand when that is
    long over. Slurm's wrappers for Torque heed `-o` only here.

    Raises:
        SchedulerError: it would have to wait for an array.
    """
    dependency = render_dependency(batch.after, dialect)
    waits = ["-W", dependency] if dependency else []
    output = (
        ["-j", "oe", "-o", _render_output(batch, piece, dialect)]
        if dialect is Dialect.TORQUE
        else []
    )
    return [*waits, *output]


def walltime_s(resources: Resources) -> int:
    """Return the time limit in whole seconds, never less than asked for.

    Raises:
        SchedulerError: there is none: PBS would give the job no limit at all.
    """
    if resources.walltime_min is None:
        raise SchedulerError(
            "pbs: walltime_min: a time limit is needed: --time, or defaults.time in the site "
            "profile"
        )
    return max(1, math.ceil(round(resources.walltime_min * 60, 3)))


def render_clock(seconds: int) -> str:
    """Return `HH:MM:SS`, the one form of time that PBS does not read as something else.

    >>> render_clock(5400)
    '01:30:00'
    """
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def warn_after_s(limit_s: int, warn_s: float) -> int | None:
    """Return seconds after the start at which the program is told to leave; None: never."""
    margin_s = min(warn_s, limit_s * SHARE_OF_WARNING)
    return math.floor(limit_s - margin_s) if warn_s > 0 and limit_s - margin_s >= 1 else None


def _render_request(resources: Resources, profile: PbsProfile, dialect: Dialect) -> list[str]:
    additions = list(profile.select)
    if resources.gpus:
        additions += profile.select_gpu
    if resources.gpu_type:
        additions.append(f"{profile.gpu_type}={resources.gpu_type}")
    time = f"-l walltime={render_clock(walltime_s(resources))}"
    if dialect is Dialect.TORQUE:
        return _render_torque_request(resources, time, additions)
    chunk = [f"ncpus={resources.cpus}"]
    if resources.mem_mib:
        chunk.append(f"mem={resources.mem_mib}mb")
    if resources.gpus:
        chunk.append(f"ngpus={resources.gpus}")
    chunk += additions
    if resources.constraint:
        chunk.append(resources.constraint)
    return [f"-l select=1:{':'.join(chunk)}", time]


def _render_torque_request(resources: Resources, time: str, additions: Sequence[str]) -> list[str]:
    node = f"-l nodes=1:ppn={resources.cpus}"
    if resources.gpus:
        node += f":gpus={resources.gpus}"
    if resources.constraint:
        node += f":{resources.constraint}"
    lines = [node]
    if resources.mem_mib:
        lines.append(f"-l mem={resources.mem_mib}mb")
    return [*lines, time, *[f"-l {addition}" for addition in additions]]


def _render_umask(resources: Resources, profile: PbsProfile, dialect: Dialect) -> list[str]:
    """Return the umask of the output: PBS has one of its own, 077, which is not the script's."""
    is_given = any(option.startswith("-W umask") for option in resources.extra)
    is_wanted = dialect is Dialect.PRO and profile.umask.lstrip("0") != "77"
    return [f"-W umask={profile.umask}"] if is_wanted and not is_given else []


def _render_output(batch: Batch, piece: Piece, dialect: Dialect) -> str:
    """Return the output's path; Torque knows no index in it, and names files in the folder."""
    folder = _plain_path(output_folder_of(batch.path))
    if not piece.is_array:
        return f"{folder}/{piece.first}.0.log"
    return f"{folder}/{piece.first}.^array_index^.log" if dialect is Dialect.PRO else f"{folder}/"


def _plain_path(path: Path) -> str:
    """Return a path that a directive can hold: PBS reads `a:b` as host and path."""
    if not path.is_absolute() or not re.fullmatch(r"[A-Za-z0-9_./+=@~-]+", str(path)):
        raise SchedulerError(
            f"pbs: {path}: PBS cannot write to a path with other characters than letters, digits "
            "and _./+=@~-; set ANLP_RUNS to another folder"
        )
    return str(path)


def render_script(
    batch: Batch,
    piece: Piece,
    resources: Resources,
    profile: PbsProfile,
    dialect: Dialect,
    start: Start,
) -> str:
    """Return the script of one call of qsub, with no value of a grid in it.

    Args:
        batch: with an absolute path.
        piece: the elements that the job covers.
        resources: what each asks for, the profile's defaults filled in (`profiles.apply`).
        profile: the site.
        dialect: the PBS.
        start: how elements are started.

    Raises:
        SchedulerError: something that PBS cannot be asked for, or would accept and read otherwise.
    """
    limit_s = walltime_s(resources)
    blocks = [
        [
            "#!/bin/bash",
            *(
                f"#PBS {line}"
                for line in render_directives(batch, piece, resources, profile, dialect)
            ),
        ],
        _render_heading(batch, piece, dialect),
        [
            "# shellcheck disable=SC2317  # functions that only a trap calls",
            "fail() {",
            '    echo "${HOSTNAME:-here}: $1" >&2',
            f"    exit {EXIT_SETUP}",
            "}",
        ],
        _render_breaker(batch),
        TRAPS.splitlines(),
        _render_environment(profile, start),
        _render_element(piece, dialect),
        (PRO_GPUS if dialect is Dialect.PRO else TORQUE_GPUS).splitlines()
        if resources.gpus
        else [],
        _render_scratch(profile),
        _render_program(batch, start),
        _render_warning(warn_after_s(limit_s, profile.warn_s), limit_s),
        WAIT.splitlines(),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _render_heading(batch: Batch, piece: Piece, dialect: Dialect) -> list[str]:
    path, script = (
        shlex.quote(str(batch.path)),
        shlex.quote(str(script_of(batch.path, piece.first))),
    )
    if not piece.is_array:
        what, alone = f"element {piece.first}", f"bash {script}"
    else:
        what = f"elements {piece.first} to {piece.first + piece.size - 1}"
        alone = f"{_variable(dialect)}=0 bash {script}    (that is element {piece.first})"
    return [
        f"# Runs {what} of {path}.",
        f"# All of it again: qsub {script}",
        f"# One of it, here: {alone}",
        "# Neither does harm: "
        "a run that has its result, or that another process is at, is left alone.",
        *(
            ["# It was submitted to start once the canaries have ended well (qsub -W depend)."]
            if batch.after
            else ()
        ),
    ]


def _render_breaker(batch: Batch) -> list[str]:
    """Return what leaves before anything is loaded once the batch was stopped.

    PBS has no call that takes only what waits of an array off the queue.
    """
    marker = shlex.quote(str(circuit_breaker.marker_of(batch.path)))
    return [
        "# too many runs of the batch failed alike: what has not begun is held back",
        f"if [ -e {marker} ]; then",
        '    echo "${HOSTNAME:-here}: held back: too many runs failed alike" >&2',
        f"    exit {EXIT_SKIPPED}",
        "fi",
    ]


def _variable(dialect: Dialect) -> str:
    return "PBS_ARRAY_INDEX" if dialect is Dialect.PRO else "PBS_ARRAYID"


def _render_environment(profile: PbsProfile, start: Start) -> list[str]:
    lines = [
        "# A job starts in $HOME with a login shell's environment "
        "and nothing of the one that submitted it."
    ]
    lines += [f"umask {profile.umask}", "export LANG=C.UTF-8"]
    if profile.modules:
        names = shlex.join(profile.modules)
        lines += [
            *MODULES.splitlines(),
            f'module load {names} || fail "module load failed: {names}"',
        ]
    folder = Path(start.words[0]).parent
    if folder.is_absolute():
        lines.append(
            f'export PATH={shlex.quote(str(folder))}:"${{PATH:-/usr/local/bin:/usr/bin:/bin}}"'
        )
    if start.code is not None:
        lines.append(f"export PYTHONPATH={shlex.quote(str(start.code))}")
    if profile.env_file is not None:
        file = shlex.quote(str(profile.env_file))
        missing = shlex.quote(f"env_file {profile.env_file}: cannot be read on this node")
        lines += [
            "# the user's own file: secrets go no other way",
            f"if [ -r {file} ]; then",
            "    set -a",
            "    # shellcheck disable=SC1090,SC1091",
            f"    . {file}",
            "    set +a",
            "else",
            f"    echo {missing} >&2",
            "fi",
        ]
    why = f"cannot enter {start.cwd}: is it on a file system that nodes see?"
    return [*lines, f"cd {shlex.quote(str(start.cwd))} || fail {shlex.quote(why)}"]


def _render_element(piece: Piece, dialect: Dialect) -> list[str]:
    if not piece.is_array:
        return [f"element={piece.first}"]
    name, other = (
        _variable(dialect),
        _variable(Dialect.TORQUE if dialect is Dialect.PRO else Dialect.PRO),
    )
    return [
        f'index="${{{name}:-${{{other}:-}}}}"',
        f'[[ "$index" =~ ^[0-9]+$ ]] || fail "not a sub-job of an array: {name} is not set"',
        f"element=$(({piece.first} + 10#$index))",
    ]


def _render_scratch(profile: PbsProfile) -> list[str]:
    clean = ['    [ -z "$scratch" ] || rm -rf -- "$scratch"']
    if profile.clean_scratch:
        command = shlex.quote(profile.clean_scratch)
        is_jobs_own = (
            f'[ -n "${{{profile.scratch}:-}}" ] && [ "${{PBS_ENVIRONMENT:-}}" = PBS_BATCH ]'
        )
        clean += [
            "    # not by hand: what is there then is not this script's to empty",
            f"    if {is_jobs_own} && type {command} >/dev/null 2>&1; then",
            f"        {command}",
            "    fi",
        ]
    return [
        "# temporary files go to the job's own scratch directory, where the site gives one",
        "scratch=",
        "clean() {",
        *clean,
        "}",
        "trap clean EXIT",
        f'if [ -n "${{{profile.scratch}:-}}" ]; then',
        f'    scratch="$(mktemp -d "${profile.scratch}/anlp.XXXXXX")" || '
        f'fail "cannot write to ${profile.scratch}"',
        '    export TMPDIR="$scratch"',
        "fi",
    ]


def _render_program(batch: Batch, start: Start) -> list[str]:
    command = f"{shlex.join(start.words)} --batch {shlex.quote(str(batch.path))}"
    return [
        *(
            ()
            if start.container is None
            else start.container.passing(ENVIRONMENT_PREFIXES).render_exports()
        ),
        f'{command} --index "$element" --job "${{PBS_JOBID:-}}" &',
        "program=$!",
    ]


def _render_warning(after_s: int | None, limit_s: int) -> list[str]:
    if after_s is None:
        return ["timer="]
    words = [
        f"# PBS gives no warning: ours comes {limit_s - after_s} s before the limit, "
        "to the program alone; a signal to",
        "# the whole job would end the process that mounts an image, too. "
        "USR2: apptainer hands it on, but not SIGURG.",
    ]
    return [*words, *TIMER.replace("AFTER_S", str(after_s)).splitlines()]


MODULES = """\
if ! type module >/dev/null 2>&1; then
    for file in /etc/profile.d/modules.sh /etc/profile.d/lmod.sh; do
        # shellcheck disable=SC1090
        [ -r "$file" ] && . "$file"
    done
fi
"""
PRO_GPUS = """\
if [ -z "${CUDA_VISIBLE_DEVICES+set}" ]; then
    echo "${HOSTNAME:-here}: the site does not say which GPUs are this job's; \
on a shared node runs may meet on one" >&2
fi
"""
TORQUE_GPUS = """\
# Torque names the job's GPUs in a file, a line `NODE-gpuN` for each
if [ -z "${CUDA_VISIBLE_DEVICES+set}" ] && [ -r "${PBS_GPUFILE:-}" ]; then
    CUDA_VISIBLE_DEVICES="$(sed -n 's/.*-gpu\\([0-9]*\\)$/\\1/p' "$PBS_GPUFILE" | paste -s -d , -)"
    export CUDA_VISIBLE_DEVICES
fi
"""
TRAPS = """\
# qdel and the time limit send TERM and leave about 10 s: \
the program saves a checkpoint and leaves with 3. By hand,
# Ctrl-C and a lost connection do the same: \
what runs in the background does not hear of them itself.
program=
signalled=
forward() {
    signalled=1
    program="${program:-${!:-}}"
    [ -n "$program" ] || exit 3
    signal="$1"
    shift
    trap '' "$@"  # once: a second one could meet Python while it leaves, and kill it
    kill -s "$signal" "$program" 2>/dev/null
}
trap 'forward TERM TERM INT HUP' TERM INT HUP
trap 'forward USR2 USR2' USR2
"""
TIMER = """\
(
    nap=
    trap '[ -z "$nap" ] || kill "$nap"; exit' TERM
    left=$((AFTER_S - SECONDS))
    sleep "$((left > 0 ? left : 0))" &
    nap=$!
    wait "$nap" && kill -0 "$$" && kill -s USR2 "$program"
) >/dev/null 2>&1 &
timer=$!
"""
WAIT = """\
# a signal ends `wait` early; the code of the program is what counts
code=
while :; do
    signalled=
    wait "$program" 2>/dev/null
    now=$?
    # a program that died as the signal came is no child any more (127), or bash 5.2 says -1
    if [ "$now" -lt 0 ] || [ "$now" -eq 127 ] && [ -n "$code" ]; then break; fi
    code=$now
    if [ -z "$signalled" ]; then break; fi
done
[ -z "$timer" ] || kill "$timer" 2>/dev/null
exit "${code:-143}"
"""
