"""The data sets of a process, each loaded once, on first use or ahead of time."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable
from pathlib import Path

from anlp.core.errors import UserError
from anlp.core.spec import DataKey
from anlp.data.samples import DataSet
from anlp.records.elements import Element


class DatasetCache:
    """Data sets from one folder, kept after loading.

    A process that forks after `preload` shares them with its children.

    Args:
        data_dir: the data folder.
        runs: the folder of all grids, for what a run takes from an earlier one; None: no such
            folder.
    """

    def __init__(self, data_dir: Path, runs: Path | None = None) -> None:
        self.data_dir = data_dir
        self.runs = runs
        self._loaded: dict[DataKey, DataSet] = {}

    def get(self, key: DataKey | None) -> DataSet:
        """Return the data set of a run (`TaskSettings.data_key`).

        Raises:
            UserError: its files are missing or damaged.
        """
        if key is None:
            raise UserError(
                "data: this task names no data set; its settings class needs `data` and `loaders`"
            )
        if key not in self._loaded:
            self._loaded[key] = _load(key, self.data_dir)
        return self._loaded[key]

    def weights_of(self, run_id: str) -> Path:
        """Return the file with the kept weights of an earlier run, of any grid.

        Raises:
            UserError: there are none.
        """
        found: list[Path] = []
        if self.runs and run_id.isalnum():
            found = sorted(self.runs.glob(f"*/{run_id}/weights.pt"))
        if not found:
            raise UserError(
                f"init_from: no weights of a run {run_id!r} in {self.runs}; "
                "finish that run first, with `checkpoints: {keep: best}` in its grid"
            )
        return found[0]

    def preload(self, keys: Iterable[DataKey]) -> None:
        """Load what is missing; the run that needs a set reports why it cannot be loaded."""
        for key in keys:
            with contextlib.suppress(UserError):
                self.get(key)

    def preload_elements(self, elements: Iterable[Element]) -> None:
        """Load the data sets of the runs of these elements."""
        keys = (spec.settings.data_key() for element in elements for spec in element.specs)
        self.preload(dict.fromkeys(key for key in keys if key is not None))


def _load(key: DataKey, data_dir: Path) -> DataSet:
    module, _, function = key.loader.partition(":")
    found = getattr(importlib.import_module(module), function)(
        data_dir, key.name, **dict(key.options)
    )
    if not isinstance(found, DataSet):
        raise TypeError(
            f"{key.loader}: expected it to return a DataSet, got {type(found).__name__}"
        )
    return found
