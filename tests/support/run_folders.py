"""Run folders as runs write them, for the tests of everything that reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from analysis.data.frames import frame
from analysis.data.load import from_disk
from anlp.records.files import write_json, write_jsonl
from anlp.records.folders import RunFolder
from anlp.records.options import RunOptions
from anlp.records.results import Outcome, RunResult
from anlp.tasks import make_spec

BASELINES = {"random": 0.1, "majority": 0.1135}


class Grid:
    """A grid folder under construction; `add` writes one run into it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(
        self,
        acc: float | None = None,
        *,
        seed: int = 0,
        outcome: Outcome | None = Outcome.OK,
        purpose: Literal["search", "confirm"] = "search",
        val: float | None = None,
        metrics: Mapping[str, float] | None = None,
        history: Sequence[Mapping[str, Any]] = (),
        **settings: Any,
    ) -> RunFolder:
        """A run with `test/acc` = `acc` and `val/acc` = `val` (the same unless given); outcome
        None: no result yet.
        """
        spec = make_spec("mnist", settings, seed)
        folder = RunFolder(self.path / spec.run_id)
        folder.path.mkdir(parents=True)
        options = RunOptions(purpose=purpose)
        write_json(folder.spec, {"spec": spec.to_json(), "options": options.to_json()})
        write_jsonl(folder.metrics, history)
        if outcome is not None:
            found = {} if acc is None else {"test/acc": acc, "val/acc": acc if val is None else val}
            result = RunResult(
                run_id=spec.run_id,
                outcome=outcome,
                metrics={**found, **(metrics or {})},
                baselines=BASELINES,
                sizes={"train": 54_000, "val": 6_000, "test": 10_000},
            )
            write_json(folder.result, result.to_json())
        return folder

    def add_seeds(self, scores: Iterable[float], *, first_seed: int = 0, **settings: Any) -> None:
        """One run per score, with consecutive seeds."""
        for seed, score in enumerate(scores, first_seed):
            self.add(score, seed=seed, **settings)

    def frame(self) -> pd.DataFrame:
        """The `runs` frame of what is there."""
        return frame(from_disk(self.path))
