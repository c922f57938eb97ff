"""`python -m anlp.run`: carries out one element of a batch file, the one thing a node executes."""

from __future__ import annotations

import argparse
import os
import platform
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anlp
from anlp.core import lease
from anlp.core.errors import (
    EXIT_CONTINUE,
    EXIT_DISK_FULL,
    EXIT_ESCAPED,
    EXIT_HELD,
    EXIT_OK,
    EXIT_RUNS_FAILED,
    EXIT_SKIPPED,
    UserError,
    run_command,
)
from anlp.core.spec import RunSpec
from anlp.core.stop_flag import ClaimLostError, Interrupted, StopFlag, stop_flag
from anlp.records import circuit_breaker
from anlp.records.accounting import Meter, usage_now
from anlp.records.files import write_json
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.options import RunOptions
from anlp.records.results import Outcome, RunResult, read_result
from anlp.runtime import container
from anlp.runtime.packed_runs import PackedRuns
from anlp.runtime.redirect import output_to
from anlp.tasks import read_element

if TYPE_CHECKING:  # these import torch: `--help` and a finished run need none of it
    from anlp.data import DatasetCache
    from anlp.tracking import Tracker

# runs without a result first: of the others nobody asks the exit code
EXITS_BY_WEIGHT = (
    EXIT_DISK_FULL,
    EXIT_CONTINUE,
    EXIT_SKIPPED,
    EXIT_RUNS_FAILED,
    EXIT_HELD,
    EXIT_OK,
)
ENDINGS = {Outcome.OK: "done", Outcome.DIVERGED: "diverged", Outcome.FAILED: "failed"}


def run_element(
    batch: Path,
    index: int,
    *,
    job: str,
    sources: DatasetCache | None = None,
    member: int | None = None,
) -> int:
    """Carries out the run of element `index` of a batch file; where it has several, each in a child (`anlp.runtime.packed_runs`).

    SIGTERM, SIGUSR2 and Ctrl-C make what is under way save a checkpoint and end the element. What is said goes to each
    run's `log.txt`.

    Args:
        batch: `runs/<grid>/batches/<n>.jsonl`.
        index: from 0.
        job: the scheduler's name for what is executing this.
        sources: data sets that are loaded already.
        member: which of the element's runs alone, from 0; None: all of them.

    Returns:
        0 every run has a result, 1 a run failed, 3 stopped and to be continued, 4 somebody else is at a run, 5 held
        back: too many runs of the batch failed alike, 6 a run's folder could not be written.

    Raises:
        SpecError: the batch file has no such element.
    """
    with stop_flag() as flag:
        element = read_element(batch, index)
        grid = GridFolder(batch.resolve().parent.parent)
        most = min(element.at_once, len(element.specs))
        runs = [
            _Run(spec, element.options, grid.run(spec.run_id), batch, job, most, sources, flag)
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
    return min(codes, key=EXITS_BY_WEIGHT.index, default=EXIT_OK)


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of an element, and what it takes to execute it."""

    spec: RunSpec
    options: RunOptions
    folder: RunFolder
    batch: Path
    job: str
    at_once: int  # how many runs share its job, and the GPU, at the same time
    sources: DatasetCache | None
    flag: StopFlag
    meter: Meter = field(default_factory=Meter)

    def execute(self) -> int:
        """The exit code; takes the run's claim unless there is nothing to do."""
        if (code := self.exit_of_earlier_result()) is not None:
            return code
        if (tripped := circuit_breaker.read(self.batch)) is not None:
            print(f"run {self.spec.run_id}: held back: {tripped}", file=sys.stderr)
            return EXIT_SKIPPED
        try:
            held = lease.acquire(
                self.folder.attempts, {"job": self.job, "batch": self.options.batch}
            )
        except lease.HeldError as error:
            print(f"run {self.spec.run_id}: {error}", file=sys.stderr)
            return EXIT_HELD
        except OSError as error:
            return self._give_up(error)
        with held:
            return self._execute_held(held)

    def _execute_held(self, held: lease.Lease) -> int:
        if (
            code := self.exit_of_earlier_result()
        ) is not None:  # finished while we were waiting for the claim
            return code
        try:
            with output_to(self.folder.log):
                outcome = self._attempt(held)
        except Interrupted:
            held.release(ending="interrupted", **self.meter.read())
            return EXIT_CONTINUE
        except ClaimLostError:
            return EXIT_HELD
        except OSError as error:  # the disk is full or gone: there is no place for a result
            held.release(ending="failed", **self.meter.read())
            return self._give_up(error)
        held.release(ending=ENDINGS[outcome], **self.meter.read())
        return EXIT_OK if outcome.is_result else EXIT_RUNS_FAILED

    def _attempt(self, held: lease.Lease) -> Outcome:
        """Trains, and returns after `result.json` is on disk."""
        print(self._header(held), flush=True)
        for draft in self.folder.path.glob(
            ".*.tmp"
        ):  # of attempts that were killed while they wrote
            draft.unlink(missing_ok=True)
        self._set_earlier_result_aside()
        write_json(
            self.folder.spec, {"spec": self.spec.to_json(), "options": self.options.to_json()}
        )
        self.flag.raise_if_set()
        result = self._train(held)
        if not held.is_current():
            raise ClaimLostError
        write_json(self.folder.result, result.to_json())
        print(f"ended: {result.outcome.value}", flush=True)
        circuit_breaker.stop_if_tripped(
            self.batch,
            self.spec.run_id,
            result.error,
            stop_after=self.options.stop_after,
        )
        if result.outcome.is_result:
            self.folder.checkpoint.unlink(missing_ok=True)
        return result.outcome

    def _train(self, held: lease.Lease) -> RunResult:
        from anlp.data import DatasetCache  # torch is imported only where something is trained
        from anlp.training.attempt import Attempt

        is_in_image = bool(container.image_of(os.environ))
        if is_in_image:
            container.preload_libraries()
        attempt = Attempt(
            self.spec,
            self.options,
            self.folder,
            self.sources
            or DatasetCache(Path(self.options.data_dir), self.folder.path.parent.parent),
            open_mirrors=self._open_mirrors,
            should_stop=self.flag.is_set,
            is_ours=held.is_current,
            saves_first=is_in_image,
        )
        result = attempt.run()
        return replace(
            result, provenance={**self._provenance(held, result.outcome), **result.provenance}
        )

    def _open_mirrors(self) -> Sequence[Tracker]:
        if self.options.wandb.mode == "disabled":
            return ()
        from anlp.tracking.wandb import open_mirror  # a run without wandb need not load it

        return (open_mirror(self.spec, self.options, self.folder),)

    def exit_of_earlier_result(self) -> int | None:
        """The exit code where an earlier result stands, None where the run is to be carried out."""
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
        """The result goes last: whoever is killed in between finds it and begins again."""
        if self.options.redo == "all" and self.folder.result.exists():
            for path in (self.folder.checkpoint, self.folder.weights, self.folder.metrics):
                path.unlink(missing_ok=True)
        self.folder.result.unlink(missing_ok=True)

    def _header(self, held: lease.Lease) -> str:
        now = time.strftime("%Y-%m-%d %H:%M:%S %z")
        process = f"process {held.record['pid']} on {held.record['host']}"
        return f"=== run {self.spec.run_id}, attempt {int(held.path.stem)}: {now}, {process}, job {self.job} ==="

    def _give_up(self, error: OSError) -> int:
        print(
            f"run {self.spec.run_id}: stopped without a result, its folder cannot be written: {error}",
            file=sys.stderr,
        )
        return EXIT_DISK_FULL

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
            "anlp": anlp.__version__,
            "python": platform.python_version(),
            "attempts": int(held.path.stem),
            "started": first.get("since", held.record["since"]),
            "ended": time.time(),
            **container.provenance(self.options.container, os.environ),
            **used,
            "spent": [spent.to_json() for spent in usage_now(held, ENDINGS[outcome], used)],
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Carries out what the command line names; see `run_element` for the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m anlp.run",
        description="Carries out one element of a batch file that `python -m jobs.submit` wrote.",
        epilog="example: python -m anlp.run --batch runs/mnist/batches/1.jsonl --index 0   "
        "(exit codes: 0 done, 1 a run failed, 2 usage, 3 stopped, run it again to continue, 4 somebody else is at it, "
        "5 held back, 6 its folder cannot be written, 70 a fault of ours)",
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
    given = parser.parse_args(argv)
    try:
        code = run_element(given.batch, given.index, job=given.job)
    except UserError:
        raise
    except Exception:  # not 1, which says that a run has a result with its failure
        traceback.print_exc()
        return EXIT_ESCAPED
    _report(given.batch, given.index)
    return code


def _report(batch: Path, index: int) -> None:
    """One line per run: how it stands and where to read on."""
    for spec in read_element(batch, index).specs:
        folder = GridFolder(batch.resolve().parent.parent).run(spec.run_id)
        result = read_result(folder)
        outcome = "not finished" if result is None else result.outcome.value
        print(f"run {spec.run_id}: {outcome}  {folder.log}")


if __name__ == "__main__":
    container.exit_process(run_command(main), os.environ)
