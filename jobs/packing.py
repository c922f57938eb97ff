"""Several runs in one job: at the same time on one GPU (`pack`), one after the other (`chain`), or both."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from anlp.record import Element, RunOptions
from anlp.spec import RunSpec
from jobs.plan import redo_of
from jobs.resources import Resources
from jobs.state import Redo, RunStatus


@dataclass(frozen=True, slots=True)
class Packing:
    """How many runs share a job."""

    pack: int = 1  # at the same time
    chain: int = 1  # one after the other, in each of the places that `pack` makes

    @property
    def size(self) -> int:
        """Runs of a full job."""
        return self.pack * self.chain

    def fit(self, runs: int) -> Packing:
        """The same for so few runs that not every place would be taken: a job asks for no more than it uses."""
        pack = min(self.pack, max(runs, 1))
        return Packing(pack, min(self.chain, max(math.ceil(runs / pack), 1)))

    def ask(self, resources: Resources) -> Resources:
        """What a job asks for, from what each of its runs does: packed runs share the GPUs, and nothing else."""
        memory, time = resources.mem_mib, resources.walltime_min
        return replace(
            resources,
            cpus=resources.cpus * self.pack,
            mem_mib=None if memory is None else memory * self.pack,
            walltime_min=None if time is None else time * self.chain,
        )


ALONE = Packing()


def make_elements(
    specs: Sequence[RunSpec],
    history: Mapping[str, RunStatus],
    options: RunOptions,
    redo: Redo,
    packing: Packing = ALONE,
    mem_limit_mib: int | None = None,
) -> list[Element]:
    """The elements of a batch, in the order of `specs`; only runs with the same options share one.

    What a run is for (a search, a confirmation) stays what it was when it was first submitted.

    Args:
        specs: the runs; all ask for the same resources.
        history: where they stand.
        options: how they are carried out.
        redo: which earlier results are set aside.
        packing: how many share a job.
        mem_limit_mib: of each run; the scheduler knows only what a job may use.
    """
    groups: dict[RunOptions, list[RunSpec]] = defaultdict(list)
    for spec in specs:
        groups[_options_of(history.get(spec.run_id), options, redo)].append(spec)
    return [
        Element(tuple(some[start : start + packing.size]), own, packing.pack, mem_limit_mib)
        for own, some in groups.items()
        for start in range(0, len(some), packing.size)
    ]


def _options_of(status: RunStatus | None, options: RunOptions, redo: Redo) -> RunOptions:
    purpose = options.purpose if status is None else status.purpose
    return replace(options, redo=redo_of(status, redo), purpose=purpose)
