"""`python -m anlp.run`: carries out one element of a batch file on a compute node."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import platform
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from anlp.console.command import run_command
from anlp.console.verbs import command_name
from anlp.core import lease
from anlp.core.errors import (
    EXIT_CONTINUE,
    EXIT_DISK_FULL,
    EXIT_ESCAPED,
    EXIT_FOLDER_REMOVED,
    EXIT_HELD,
    EXIT_OK,
    EXIT_RUNS_FAILED,
    EXIT_SKIPPED,
    EXIT_USAGE,
    EXITS_OF_RUNS,
    UserError,
)
from anlp.core.files import describe_fault, make_folder
from anlp.core.spec import RunSpec
from anlp.core.stop_flag import Interrupted, LeaseLostError, StopFlag, stop_flag
from anlp.core.version import __version__
from anlp.records import circuit_breaker
from anlp.records.accounting import Meter, usage_now
from anlp.records.crash import LOST, ProgramLostError
from anlp.records.files import write_json
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.options import RunOptions
from anlp.records.results import Outcome, RunResult, read_result
from anlp.runtime import container
from anlp.runtime.packed_runs import PackedRuns
from anlp.runtime.redirect import output_to
from anlp.tasks import read_element
from anlp.tasks.user_code import is_program, is_user_code

if TYPE_CHECKING:  # these import torch, see `_train`
    from anlp.data import DatasetCache
    from anlp.functions.run import Run
    from anlp.tracking import Tracker

ENDINGS = {Outcome.OK: "done", Outcome.DIVERGED: "diverged", Outcome.FAILED: "failed"}


def run_element(
    batch: Path,
    index: int,
    *,
    job: str,
    datasets: DatasetCache | None = None,
    member: int | None = None,
) -> int:
    """Carry out the run of element `index` of a batch file.

    Several runs are each carried out in a child (`anlp.runtime.packed_runs`). SIGTERM, SIGUSR2 and
    Ctrl-C make a run under way save a checkpoint and end the element. Output goes to each run's
    `log.txt`.

    Args:
        batch: `runs/<grid>/batches/<n>.jsonl`.
        index: from 0.
        job: the scheduler's name for what is executing this.
        datasets: data sets that are loaded already.
        member: which of the element's runs alone, from 0; None: all of them.

    Returns:
        0 every run has a result, 1 a run failed, 3 stopped and to be continued, 4 another process
        has a run, 5 held back: too many runs of the batch failed alike, 6 a run's folder could not
        be written, 8 it was removed meanwhile.

    Raises:
        SpecError: the batch file has no such element.
    """
    with stop_flag() as flag:
        element = read_element(batch, index)
        grid = GridFolder(batch.resolve().parent.parent)
        most = min(element.at_once, len(element.specs))
        runs = [
            _Run(spec, element.options, grid.run(spec.run_id), batch, job, most, datasets, flag)
            for spec in element.specs
        ]
        alone = 0 if len(runs) == 1 else member
        if alone is not None:
            return runs[alone].execute()
        codes = PackedRuns(
            batch,
            index,
            element,
            job,
            run_element,
            [run.exit_of_earlier_result for run in runs],
            flag,
        ).run()
    return min(codes, key=EXITS_OF_RUNS.index, default=EXIT_OK)


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of an element, with what it takes to execute it."""

    spec: RunSpec
    options: RunOptions
    folder: RunFolder
    batch: Path
    job: str
    at_once: int  # how many runs share its job, and the GPU, at the same time
    datasets: DatasetCache | None
    flag: StopFlag
    meter: Meter = field(default_factory=Meter)

    def execute(self) -> int:
        """Return the run's exit code; takes its lease unless there is nothing to do."""
        code = self.exit_of_earlier_result()
        if code is not None:
            return code
        tripped = circuit_breaker.read(self.batch)
        if tripped is not None:
            print(f"run {self.spec.run_id}: held back: {tripped}", file=sys.stderr)
            return EXIT_SKIPPED
        try:
            make_folder(self.folder.path)
            held = lease.acquire(
                self.folder.attempts, {"job": self.job, "batch": self.options.batch}
            )
        except lease.HeldError as error:
            self._say(str(error))
            return EXIT_HELD
        except OSError as error:
            return self._give_up(error)
        with held:
            return self._execute_held(held)

    def _execute_held(self, held: lease.Lease) -> int:
        code = self.exit_of_earlier_result()  # another process may have finished it meanwhile
        if code is not None:
            return code
        try:
            with output_to(self.folder.log):
                outcome = self._attempt(held)
        except Interrupted:
            held.release(ending="interrupted", **self.meter.read())
            return EXIT_CONTINUE
        except LeaseLostError:
            return self._leave(held)
        except ProgramLostError as error:  # the program was killed: the lease's record says how
            crash = error.crash
            print(f"run {self.spec.run_id}: {error}", file=sys.stderr)
            held.release(ending=LOST, cause=crash.cause, detail=crash.detail, **self.meter.read())
            return EXIT_RUNS_FAILED
        except OSError as error:  # the disk is full or gone: there is no place for a result
            if held.is_gone():
                return self._leave(held)
            held.release(
                ending="interrupted", unwritable=describe_fault(error), **self.meter.read()
            )
            return self._give_up(error)
        held.release(ending=ENDINGS[outcome], **self.meter.read())
        return EXIT_OK if outcome.is_result else EXIT_RUNS_FAILED

    def _attempt(self, held: lease.Lease) -> Outcome:
        """Train, and return after `result.json` is on disk."""
        print(self._header(held), flush=True)
        for draft in self.folder.path.glob(".*.tmp"):  # of attempts killed while they wrote
            draft.unlink(missing_ok=True)
        self._set_earlier_result_aside()
        write_json(
            self.folder.spec, {"spec": self.spec.to_json(), "options": self.options.to_json()}
        )
        self.flag.raise_if_set()
        if is_user_code(self.spec.task):
            result = self._run_own_code(held)
        else:
            result = self._train(held, self.spec)
        if not held.is_current():
            raise LeaseLostError
        write_json(self.folder.result, result.to_json())
        with contextlib.suppress(OSError):  # from here on, a full disk costs nothing
            self._close(result)
        return result.outcome

    def _close(self, result: RunResult) -> None:
        """Do what is left after the result is on disk."""
        if result.outcome.is_result:
            self.folder.checkpoint.unlink(missing_ok=True)
        print(f"ended: {result.outcome.value}", flush=True)
        circuit_breaker.stop_if_tripped(
            self.batch,
            self.spec.run_id,
            result.error,
            stop_after=self.options.stop_after,
        )

    def _run_own_code(self, held: lease.Lease) -> RunResult:
        # imported here: other runs need none of it
        from anlp.runtime import program_run

        if is_program(self.spec.task):
            carry_out = program_run.run_program
        elif program_run.find_program(self.options, self.folder).is_task:
            typed = program_run.load_task(self.spec, self.options, self.folder)
            return typed if isinstance(typed, RunResult) else self._train(held, typed)
        else:
            carry_out = program_run.run_function
        result = carry_out(self.spec, self.options, self.folder, self.flag, held.is_current)
        return self._with_provenance(result, held)

    def _train(self, held: lease.Lease, spec: RunSpec) -> RunResult:
        # torch is imported only here: `--help`, a finished run and a run that is held back need
        # none of it
        from anlp.builders import build_workload
        from anlp.data import DatasetCache
        from anlp.training.attempt import Attempt, AttemptHooks

        is_in_image = bool(container.image_of(os.environ))
        if is_in_image:
            container.preload_libraries()
        datasets = self.datasets
        if datasets is None:
            datasets = DatasetCache(Path(self.options.data_dir), self.folder.path.parent.parent)
        hooks = AttemptHooks(
            open_mirrors=self._open_mirrors,
            should_stop=self.flag.is_set,
            holds_lease=held.is_current,
            saves_first=is_in_image,
        )
        build = functools.partial(build_workload, spec, datasets)
        result = Attempt(spec, self.options, self.folder, build, hooks).run()
        return self._with_provenance(result, held)

    def _with_provenance(self, result: RunResult, held: lease.Lease) -> RunResult:
        return replace(result, provenance={**self._told(held, result), **result.provenance})

    def _told(self, held: lease.Lease, result: RunResult) -> dict[str, Any]:
        """Return the provenance; where that fails, what it lacks: the result is worth more."""
        try:
            return self._provenance(held, result.outcome)
        except Exception as error:  # a fault here must not cost a training
            traceback.print_exc()
            return {"batch": self.options.batch, "incomplete": f"{type(error).__name__}: {error}"}

    def _open_mirrors(self) -> Sequence[Tracker]:
        if self.options.wandb.mode == "disabled":
            return ()
        # imported here: a run without wandb does not load it
        from anlp.tracking.wandb import open_mirror

        return (open_mirror(self.spec, self.options, self.folder),)

    def exit_of_earlier_result(self) -> int | None:
        """Return the exit code of an earlier result, None where the run is to be carried out."""
        result = read_result(self.folder)
        if result is None or self._is_redone(result):
            return None
        return EXIT_OK if result.outcome.is_result else EXIT_RUNS_FAILED

    def _is_redone(self, result: RunResult) -> bool:
        if result.provenance.get("batch") == self.options.batch:
            return False
        return self.options.redo == "all" or (
            self.options.redo == "failed" and not result.outcome.is_result
        )

    def _set_earlier_result_aside(self) -> None:
        """Remove the files of the result that this attempt replaces.

        The result goes last: a process killed in between leaves it, and the next attempt begins
        again.
        """
        if self.options.redo == "all" and self.folder.result.exists():
            for path in (self.folder.checkpoint, self.folder.weights, self.folder.metrics):
                path.unlink(missing_ok=True)
        self.folder.result.unlink(missing_ok=True)

    def _header(self, held: lease.Lease) -> str:
        now = time.strftime("%Y-%m-%d %H:%M:%S %z")
        process = f"process {held.record['pid']} on {held.record['host']}"
        attempt = f"run {self.spec.run_id}, attempt {int(held.path.stem)}"
        return f"=== {attempt}: {now}, {process}, job {self.job} ==="

    def _give_up(self, error: OSError) -> int:
        self._say(f"stopped without a result: cannot be written: {describe_fault(error)}")
        return EXIT_DISK_FULL

    def _leave(self, held: lease.Lease) -> int:
        """Return the exit code of a run whose lease is not its own any more."""
        if held.is_gone():
            self._say(f"stopped without a result: {self.folder.path} was removed while it trained")
            return EXIT_FOLDER_REMOVED
        self._say("stopped: another process has taken it over")
        return EXIT_HELD

    def _say(self, what: str) -> None:
        with contextlib.suppress(OSError):  # the job's output may be on the full disk, too
            print(f"run {self.spec.run_id}: {what}", file=sys.stderr, flush=True)

    def _provenance(self, held: lease.Lease, outcome: Outcome) -> dict[str, Any]:
        first = lease.read(self.folder.attempts / f"{1:06d}.json")
        used = self.meter.read()
        return {
            "batch": self.options.batch,
            "purpose": self.options.purpose,
            "commit": self.options.commit,
            "job": self.job,
            "at_once": self.at_once,
            "host": socket.gethostname(),
            "anlp": __version__,
            "python": platform.python_version(),
            "attempts": int(held.path.stem),
            "started": first.get("since", held.record["since"]),
            "ended": time.time(),
            **container.provenance(self.options.container, os.environ),
            **used,
            "spent": [spent.to_json() for spent in usage_now(held, ENDINGS[outcome], used)],
        }


BY_HAND = """\
runs are submitted from a checkout of the project, and jobs call this:
  {submit}
one element of a batch by hand, on a node:
  {start} --batch runs/mnist/batches/1.jsonl --index 0
"""
OF_IMAGE = """\
what is in the image, and whether it works here:
  apptainer inspect --labels {image}
  apptainer test {image}
"""
EXIT_CODES = """\
exit codes: 0 done, 1 a run failed, 2 usage, 3 stopped, run it again to continue, 4 another process
has the run, 5 held back, 6 its folder cannot be written, 8 it was removed, 70 a fault in anlp"""


def _make_arguments(image: str) -> argparse.ArgumentParser:
    """Return the parser; its help says what to type, in an image what to type before it."""
    submit, start = f"{command_name('jobs.submit')} grids/demo.yaml", "python -m anlp.run"
    more = ""
    if image:
        submit = f"{command_name('jobs.submit')} grids/demo.yaml --container {image}"
        start = f"apptainer run --nv --bind $PWD/runs {image}"
        more = OF_IMAGE.format(image=image)
    parser = argparse.ArgumentParser(
        prog=f"apptainer run {Path(image).name}" if image else "python -m anlp.run",
        description="Carries out one element of a batch file that a submit wrote.",
        epilog=f"{BY_HAND.format(submit=submit, start=start)}{more}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--batch", type=Path, required=True, metavar="FILE", help="runs/<grid>/batches/<n>.jsonl"
    )
    parser.add_argument(
        "--index", type=int, required=True, metavar="K", help="which line of it, from 0"
    )
    parser.add_argument(
        "--job", default="", help="the scheduler's name for this job, for the record"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out what the command line names; see `run_element` for the exit code."""
    parser = _make_arguments(container.image_of(os.environ))
    words = sys.argv[1:] if argv is None else list(argv)
    if not words:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    given = parser.parse_args(words)
    try:
        code = run_element(given.batch, given.index, job=given.job)
    except UserError:
        raise
    except Exception:  # not 1, which stands for a failed run with a result
        traceback.print_exc()
        return EXIT_ESCAPED
    _report(given.batch, given.index)
    return code


def _report(batch: Path, index: int) -> None:
    """Print one line per run: its state and its log."""
    for spec in read_element(batch, index).specs:
        folder = GridFolder(batch.resolve().parent.parent).run(spec.run_id)
        result = read_result(folder)
        outcome = "not finished" if result is None else result.outcome.value
        print(f"run {spec.run_id}: {outcome}  {folder.log}")


class _CallableModule(ModuleType):
    """This module under its name `anlp.run`: calling it makes a `Run`, as `anlp.Run()` does."""

    def __call__(self, **given: Any) -> Run:
        # imported here: the runner needs none of it
        from anlp.functions.run import Run

        return Run(**given)


sys.modules[__name__].__class__ = _CallableModule

if __name__ == "__main__":
    container.exit_process(run_command(main), os.environ)
