"""Makes sure on the submitting side that the data of every run is where the run will look for it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from anlp.core.errors import UserError
from anlp.core.spec import DataKey, RunSpec
from anlp.datasets import catalogue


def with_data(
    specs: Sequence[RunSpec],
    fallback: str | None,
    where: Path,
    *,
    download: bool,
    say: Callable[[str], None],
    is_wanted: Callable[[RunSpec], bool] = lambda _: True,
) -> list[RunSpec]:
    """The runs with their data found or downloaded, or replaced by the fallback that the grid names.

    Args:
        specs: runs; those whose settings have no `data` need none.
        fallback: data set to use instead of one that is neither here nor to be downloaded.
        where: the data folder.
        download: False: look only.
        say: gets what people must know.
        is_wanted: whether a run is to be carried out, now or with the fallback; what only others need is not looked
            for. All are returned, so that the runs of a file are known whatever is wanted of it.

    Raises:
        UserError: data is missing and there is no fallback, it is not what the task can read, or weights are not the
            published ones; names the files and what to do.
    """
    wanted = [
        spec
        for spec in specs
        if is_wanted(spec) or (fallback and is_wanted(_replace_data(spec, fallback)))
    ]
    for asset in sorted({asset for spec in wanted for asset in spec.settings.assets()}):
        _is_there(asset, where, download=download, fallback=None, say=say)
        catalogue.verify(asset, where)
    names = sorted({_data_of(spec) for spec in wanted} - {""})
    missing = {
        name
        for name in names
        if not _is_there(name, where, download=download, fallback=fallback, say=say)
    }
    for name in sorted(missing):
        say(
            f"DATA: {name} is not in {where} and could not be downloaded: ITS RUNS USE {fallback} INSTEAD"
        )
    _look_at((spec.settings.check_key() for spec in wanted if _data_of(spec) not in missing), where)
    replaced = [
        _replace_data(spec, fallback) if _data_of(spec) in missing else spec for spec in specs
    ]
    return list(
        {spec.run_id: spec for spec in replaced}.values()
    )  # a run may now be one that the grid had already


def _look_at(keys: Iterable[DataKey | None], where: Path) -> None:
    """Calls what a task has for looking at its data, once for all runs that want the same."""
    for key in dict.fromkeys(
        key for key in keys if key is not None and catalogue.find(key.name, where) is not None
    ):
        module, _, function = key.loader.partition(":")
        getattr(importlib.import_module(module), function)(where, key.name, **dict(key.options))


def _data_of(spec: RunSpec) -> str:
    """Its data set; empty where the task has a loader for just this name and nobody publishes files: it is made."""
    name = str(spec.settings.values().get("data", ""))
    return "" if name in spec.settings.loaders and name not in catalogue.CATALOGUE else name


def _is_there(
    name: str, where: Path, *, download: bool, fallback: str | None, say: Callable[[str], None]
) -> bool:
    """Whether a data set is at hand; False only where there is a fallback.

    Raises:
        UserError: it is missing, cannot be downloaded, and the grid names no fallback.
    """
    if not catalogue.needs_files(name) or catalogue.find(name, where) is not None:
        return True
    if not download:
        then = (
            "submit would download it"
            if catalogue.is_published(name)
            else "put it there before submitting"
        )
        say(f"note: {name} is not in {where}; {then}")
        return True
    try:
        catalogue.stage(name, where)
    except UserError:
        if fallback is None or fallback == name:
            raise
        return False
    return True


def _replace_data(spec: RunSpec, name: str | None) -> RunSpec:
    return RunSpec(spec.task, spec.settings.model_copy(update={"data": name}), spec.seed)
