"""The data sets of a process: each is loaded once, on first use or ahead of time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from anlp.data.digits import load_digits
from anlp.data.mnist import load_mnist
from anlp.data.samples import DataSet
from anlp.errors import UserError
from anlp.record import Element


class Sources:
    """Data sets by name from one folder, kept after loading: a process that forks after `preload` shares them."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._loaded: dict[str, DataSet] = {}

    def get(self, name: str) -> DataSet:
        """The data set `name`.

        Raises:
            UserError: its files are missing or damaged; the sentence says which were expected where.
        """
        if name not in self._loaded:
            self._loaded[name] = _load(name, self.data_dir)
        return self._loaded[name]

    def preload(self, names: Iterable[str]) -> None:
        """Loads what is not there yet; a set that cannot be loaded is left for the run that needs it to report."""
        for name in names:
            with contextlib.suppress(UserError):
                self.get(name)

    def preload_elements(self, elements: Iterable[Element]) -> None:
        """Loads the data sets that these elements name (their setting `data`)."""
        specs = (spec for element in elements for spec in element.specs)
        self.preload(dict.fromkeys(str(spec.settings.values()["data"]) for spec in specs))


def _load(name: str, data_dir: Path) -> DataSet:
    if name == "digits":
        return load_digits()
    if name == "mnist":
        return load_mnist(data_dir)
    raise UserError(f"data: unknown data set {name!r} (known: digits, mnist)")
