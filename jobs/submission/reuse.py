"""Finds runs of a plan that are finished in another grid, and takes their results over."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from anlp.core import lease
from anlp.core.errors import UserError
from anlp.core.files import create_whole, make_folder, write_whole
from anlp.core.spec import RunSpec
from anlp.records.cost import REUSED_FROM
from anlp.records.files import write_json
from anlp.records.folders import GridFolder, RunFolder, list_grids
from anlp.records.options import RunOptions
from anlp.records.results import RunResult, read_result
from jobs.config.resources import Resources
from jobs.runs.journal import Journal, new_tag
from jobs.schedulers.base import Job
from jobs.schedulers.registry import LOCAL
from jobs.submission.batching import make_elements
from jobs.submission.submitter import write_batch

Elsewhere = Mapping[str, RunFolder]  # by run id


def find_elsewhere(folder: GridFolder, wanted: Collection[str]) -> dict[str, RunFolder]:
    """Return the folders of these runs in other grids of the runs folder that have their results.

    Equal run ids are equal settings, data and seed.
    """
    found: dict[str, RunFolder] = {}
    for grid in list_grids() if wanted else ():
        if grid.name == folder.name:
            continue
        for run_id in _present(grid, wanted):
            if run_id not in found and _finished(grid.run(run_id)) is not None:
                found[run_id] = grid.run(run_id)
    return found


def note_elsewhere(found: Elsewhere, *, is_taken: bool) -> Iterator[str]:
    """Yield a sentence for each grid that has results of the plan."""
    what = ": their results are taken" if is_taken else "; --reuse takes their results"
    for name, runs in Counter(run.path.parent.name for run in found.values()).items():
        yield f"{runs} of these {'is' if runs == 1 else 'are'} done in {name}{what}"


def take_results(
    folder: GridFolder, specs: Sequence[RunSpec], found: Elsewhere, options: RunOptions
) -> int:
    """Copy results into this grid, as a submission of its own; return how many.

    Raises:
        UserError: another command holds the grid, or its folder cannot be written.
    """
    chosen = [spec for spec in specs if spec.run_id in found]
    if not chosen:
        return 0
    tag = new_tag()
    with Journal(folder).held() as journal:
        for spec in chosen:
            _take(found[spec.run_id], folder.run(spec.run_id), tag)
        elements = make_elements(chosen, {}, replace(options, batch=tag), "none")
        batch = write_batch(folder, elements, tag)
        journal.intend(batch, LOCAL, "none", Resources())
        journal.accepted(tag, Job(lease.Process.this().to_id(), 0, batch.size))
        journal.answered(tag)
    return len(chosen)


def _take(source: RunFolder, target: RunFolder, tag: str) -> None:
    """Copy what a finished run left, its result last."""
    result = _finished(source)
    if result is None:
        raise UserError(f"{source.result}: was removed meanwhile; submit again")
    make_folder(target.path)
    for path in (source.spec, source.metrics, source.log):
        with contextlib.suppress(FileNotFoundError):
            write_whole(target.path / path.name, path.read_bytes(), sync=False)
    for path in (source.weights, source.predictions):  # large, and never written in place
        _link(path, target.path / path.name)
    origin = {REUSED_FROM: source.path.parent.name, "batch": tag, "spent": []}
    taken = replace(result, provenance={**result.provenance, **origin})
    write_json(target.result, taken.to_json())


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except (FileNotFoundError, FileExistsError):
        return  # nothing was kept, or it was taken before
    except OSError:  # a file of another user, or a disk without hard links
        create_whole(target, source.read_bytes())


def _present(grid: GridFolder, wanted: Collection[str]) -> list[str]:
    """Return which of these runs the grid has folders of, by one listing."""
    try:
        names = os.listdir(grid.path)
    except OSError:
        return []
    return [name for name in names if name in wanted]


def _finished(run: RunFolder) -> RunResult | None:
    result = read_result(run)
    return result if result is not None and result.outcome.is_result else None
