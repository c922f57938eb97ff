"""Paths of a grid's folder and of a run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run. Each file has one writer: the run itself."""

    path: Path

    @property
    def run_id(self) -> str:
        """The folder's name is the run's id."""
        return self.path.name

    @property
    def spec(self) -> Path:
        """`RunSpec` and `RunOptions`, the first thing a run writes."""
        return self.path / "spec.json"

    @property
    def metrics(self) -> Path:
        """One line per epoch, epoch 0 before the first update."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint(self) -> Path:
        """What an interrupted run continues from."""
        return self.path / "checkpoint.pt"

    @property
    def weights(self) -> Path:
        """The weights that were kept (`RunOptions.keep`)."""
        return self.path / "weights.pt"

    @property
    def result(self) -> Path:
        """Written once, by rename, last: its presence means that the run ended."""
        return self.path / "result.json"

    @property
    def log(self) -> Path:
        """Output of all attempts."""
        return self.path / "log.txt"

    @property
    def attempts(self) -> Path:
        """One claim (see `anlp.core.lease`) per attempt: who ran it, where, and how the attempt ended."""
        return self.path / "attempts"

    @property
    def predictions(self) -> Path:
        """What the model said about each test sample, where the grid asks for it (`RunOptions.predictions`)."""
        return self.path / "predictions.npz"

    @property
    def wandb(self) -> Path:
        """The files of wandb."""
        return self.path / "wandb"


@dataclass(frozen=True, slots=True)
class GridFolder:
    """`runs/<grid>`: what submit wrote, and one folder per run."""

    path: Path

    @property
    def name(self) -> str:
        """The grid's name."""
        return self.path.name

    @property
    def journal(self) -> Path:
        """Append-only record of what was asked of the scheduler and what it answered."""
        return self.path / "journal.jsonl"

    @property
    def batches(self) -> Path:
        """One file per submission."""
        return self.path / "batches"

    @property
    def lock(self) -> Path:
        """Claims of whoever plans and submits."""
        return self.path / "lock"

    @property
    def finished(self) -> Path:
        """Cache of the results that are final, so that nobody reads 10,000 folders twice."""
        return self.path / "finished.jsonl"

    @property
    def answers(self) -> Path:
        """Cache of what schedulers said last, so that commands in a row ask once."""
        return self.path / "answers.json"

    def run(self, run_id: str) -> RunFolder:
        """The folder of one run, whether it exists or not."""
        return RunFolder(self.path / run_id)
