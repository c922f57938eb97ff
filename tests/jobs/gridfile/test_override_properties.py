"""What holds for every `--set`: it equals the file with these values, in any order of overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from anlp.core.errors import SpecError
from jobs.gridfile import load_grid
from tests.support.properties import repeatable

VALUES: dict[str, list[Any]] = {
    "lr": [0.1, 0.01, 1e-05, 2],
    "dropout": [0, 0.25, 0.5],
    "epochs": [1, 3, 5],
    "optimizer": ["sgd", "adam", "rmsprop"],
    "model": ["dense", "cnn"],
}
axes = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)
        for name, values in VALUES.items()
    },
)


def write(folder: Path, grid: dict[str, list[Any]]) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({"task": "mnist", "fixed": {"data": "digits"}, "grid": grid}))
    return path


def ids(path: Path, overrides: list[str]) -> set[str]:
    return {run.run_id for run in load_grid(path, overrides=overrides).runs()}


@repeatable
@given(grid=axes, given_values=axes, data=st.data())
def test_an_override_equals_the_file_with_its_values(
    tmp_path: Path,
    grid: dict[str, list[Any]],
    given_values: dict[str, list[Any]],
    data: st.DataObject,
) -> None:
    words = [f"{name}={','.join(map(str, values))}" for name, values in given_values.items()]
    shuffled = data.draw(st.permutations(words))

    overridden = ids(write(tmp_path, grid), shuffled)

    assert overridden == ids(write(tmp_path, {**grid, **given_values}), [])


@repeatable
@given(
    text=st.text(max_size=20)
    | st.builds("{}={}".format, st.sampled_from(list(VALUES)), st.text(max_size=12))
)
def test_any_override_is_read_or_a_fault_that_names_it(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, {"lr": [0.1]})

    fault = "--set "
    try:
        assert ids(path, [text])
    except SpecError as error:
        fault = str(error)
    assert fault.startswith("--set ")
