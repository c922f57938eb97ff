"""Finds or downloads the data of all runs on the submitting side."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from anlp.core.errors import UserError
from anlp.core.spec import DataKey, RunSpec
from anlp.datasets import catalogue
from anlp.tasks.user_code import is_user_code


def with_data(
    specs: Sequence[RunSpec],
    fallback: str | None,
    where: Path,
    *,
    download: bool,
    say: Callable[[str], None],
    is_wanted: Callable[[RunSpec], bool] = lambda _: True,
) -> list[RunSpec]:
    """Return the runs with their data found or downloaded, or replaced by the grid's fallback.

    Args:
        specs: runs; those whose settings have no `data` need none.
        fallback: data set to use instead of one that is neither here nor to be downloaded.
        where: the data folder.
        download: False: look only.
        say: gets what the user must know.
        is_wanted: whether a run is to be carried out, now or with the fallback; data that only
            other runs need is not looked for. All runs are returned.

    Raises:
        UserError: data is missing without a fallback, the task cannot read it, or weights are not
            the published ones; the message names the files and what to do.
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
            f"DATA: {name} is not in {where} and could not be downloaded: "
            f"ITS RUNS USE {fallback} INSTEAD"
        )
    _look_at((spec.settings.check_key() for spec in wanted if _data_of(spec) not in missing), where)
    replaced = [
        _replace_data(spec, fallback) if _data_of(spec) in missing else spec for spec in specs
    ]
    # with the fallback a run may equal another one of the grid
    return list({spec.run_id: spec for spec in replaced}.values())


def _look_at(keys: Iterable[DataKey | None], where: Path) -> None:
    """Let each task check its data, once for all runs with equal requirements."""
    for key in dict.fromkeys(
        key for key in keys if key is not None and catalogue.find(key.name, where) is not None
    ):
        module, _, function = key.loader.partition(":")
        getattr(importlib.import_module(module), function)(where, key.name, **dict(key.options))


def _data_of(spec: RunSpec) -> str:
    """Return its data set; empty where the task computes it, without published files."""
    if is_user_code(spec.task):
        return ""
    name = str(spec.settings.values().get("data", ""))
    return "" if name in spec.settings.loaders and name not in catalogue.CATALOGUE else name


def _is_there(
    name: str, where: Path, *, download: bool, fallback: str | None, say: Callable[[str], None]
) -> bool:
    """Return whether a data set is available; False only where there is a fallback.

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
