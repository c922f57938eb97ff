"""GridSpec: a grid file, read and found without fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from anlp.record import WandbOptions
from anlp.spec import RunSpec, Scalar
from jobs.gridfile.blocks import SEED, Block
from jobs.gridfile.expansion import Expansion
from jobs.gridfile.values import vocabulary_of
from jobs.resources import Resources

STOP_AFTER = 10


@dataclass(frozen=True, slots=True)
class GridSpec:
    """A study: its runs and what each of them asks of a machine."""

    name: str
    source: Path
    text: str  # the file as read
    task: str
    blocks: tuple[Block, ...]
    resources: Resources = field(default_factory=Resources)
    wandb: WandbOptions = field(default_factory=WandbOptions)  # its group is filled in by submit
    container: str | None = None
    fallback: str | None = None  # the data set to take where the grid's own cannot be found
    retries: int = 0  # of each run that its machine ended
    pack: int = 1  # runs that share a GPU and a job at the same time
    chain: int = 1  # runs one after the other in one job
    stop_after: int = STOP_AFTER  # so many runs in a row that fail alike; 0: never
    checkpoint_every: int = 1  # epochs
    keep: Literal["none", "best", "last"] = "best"
    predictions: bool = False  # whether runs write what their model says about each test sample
    notes: tuple[str, ...] = ()  # what may be a mistake; for large grids `Expansion.notes` knows more

    def runs(self) -> Iterator[RunSpec]:
        """Every run once: blocks in order, the last axis fastest, seeds innermost. Raises as `Expansion` does."""
        return iter(self.expand())

    def expand(self) -> Expansion:
        """The same, with counts of what was left out and what was met twice."""
        return Expansion(self)

    @property
    def size_hint(self) -> int:
        """At most this many runs; costs nothing."""
        return sum(block.size_hint for block in self.blocks)

    def axes(self) -> dict[str, tuple[Scalar, ...]]:
        """What varies, with its values, in file order; `seed` last where there are several."""
        words = vocabulary_of(self.task)
        always = {name: value for name, value in words.defaults.items() if name not in words.model.only_for}
        names = dict.fromkeys(name for block in self.blocks for name in block.named())
        found: dict[str, tuple[Scalar, ...]] = {}
        for name in names:
            values = (value for block in self.blocks for value in block.values_of(name, always))
            found[name] = tuple(dict.fromkeys(values))
        found[SEED] = tuple(dict.fromkeys(seed for block in self.blocks for seed in block.seeds))
        return {name: values for name, values in found.items() if len(values) > 1}
