"""Several runs in one job: at the same time on a GPU (`pack`), one after the other (`chain`)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from jobs.config.resources import Resources


@dataclass(frozen=True, slots=True)
class Packing:
    """How many runs share a job."""

    pack: int = 1  # at the same time
    chain: int = 1  # one after the other, in each of the places that `pack` makes

    @property
    def size(self) -> int:
        """Return the number of runs of a full job."""
        return self.pack * self.chain

    def fit(self, runs: int) -> Packing:
        """Return the packing for so many runs: a job asks for no more places than it uses.

        >>> Packing(pack=4, chain=3).fit(2)
        Packing(pack=2, chain=1)
        """
        pack = min(self.pack, max(runs, 1))
        return Packing(pack, min(self.chain, max(math.ceil(runs / pack), 1)))

    def ask(self, resources: Resources) -> Resources:
        """Return what a job asks for, from what a run asks for: packed runs share GPUs only."""
        memory, time = resources.mem_mib, resources.walltime_min
        return replace(
            resources,
            cpus=resources.cpus * self.pack,
            mem_mib=None if memory is None else memory * self.pack,
            walltime_min=None if time is None else time * self.chain,
        )


ALONE = Packing()
