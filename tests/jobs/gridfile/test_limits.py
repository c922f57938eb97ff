"""What must hold for any grid file: properties, time and memory."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anlp.core.errors import SpecError
from jobs.gridfile import GridSpec, load_grid

pytestmark = pytest.mark.slow

AXES: dict[str, st.SearchStrategy[Any]] = {
    "lr": st.sampled_from([0.1, 0.01, 1e-5, 2]),
    "dropout": st.sampled_from([0, 0.25, 0.5]),
    "epochs": st.integers(1, 5),
    "optimizer": st.sampled_from(["sgd", "adam", "rmsprop"]),
    "hidden": st.integers(1, 5),
}
GRIDS = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(values, min_size=1, max_size=3, unique=True) for name, values in AXES.items()
    },
)
few = settings(
    derandomize=True,
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def write(tmp_path: Path, content: dict[str, Any]) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({"task": "mnist", **content}, sort_keys=False))
    return path


def load(tmp_path: Path, content: dict[str, Any]) -> GridSpec:
    return load_grid(write(tmp_path, content))


@few
@given(grid=GRIDS, seeds=st.integers(1, 3), excluded=st.sampled_from([None, 0.1, 2]))
def test_runs_are_the_product_less_what_is_excluded(
    tmp_path: Path, grid: dict[str, list[Any]], seeds: int, excluded: float | None
) -> None:
    points = [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]
    kept = [point for point in points if excluded is None or point.get("lr", 0.001) != excluded]
    rules = {} if excluded is None else {"exclude": [{"lr": excluded}]}
    if not kept:
        with pytest.raises(SpecError, match="no run is left"):
            load(tmp_path, {"grid": grid, "seeds": seeds, **rules})
        return

    found = load(tmp_path, {"grid": grid, "seeds": seeds, **rules})
    runs = list(found.runs())

    assert len({run.run_id for run in runs}) == len(runs) == len(kept) * seeds
    assert found.size_hint == len(points) * seeds
    assert [{name: run.settings.values()[name] for name in grid} for run in runs[::seeds]] == kept


@few
@given(grid=GRIDS, data=st.data())
def test_the_order_of_keys_changes_no_id(
    tmp_path: Path, grid: dict[str, list[Any]], data: st.DataObject
) -> None:
    shuffled = {name: grid[name] for name in data.draw(st.permutations(sorted(grid)))}

    ids = [
        {run.run_id for run in load(tmp_path, {"grid": axes}).runs()} for axes in (grid, shuffled)
    ]

    assert ids[0] == ids[1]


WORDS = (
    "task mnist grid fixed zip random when if exclude include "
    "seeds union lr model cnn optimizer samples logspace "
    "range wandb mode resources mem : - [ ] { } , & * << "
    "! | > ' \" # 0 1 -3 1e-3 .inf true null ~ a"
)
PIECES = st.sampled_from([*WORDS.split(), "\n", "\n  ", "\n- ", ": ", "\t", " "])


def faults_of(path: Path) -> tuple[str, ...]:
    """What is said about a file: nothing if it is a grid."""
    try:
        next(load_grid(path).runs())
    except SpecError as error:
        return error.faults
    return ()


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=40).map(" ".join)))
def test_any_text_gives_a_grid_or_a_spec_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.yaml"
    for content in (text, "task: mnist\n" + text):
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
        assert all(fault and "\n" not in fault for fault in faults_of(path))


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    content=st.dictionaries(
        st.sampled_from(
            [
                "fixed",
                "grid",
                "zip",
                "random",
                "when",
                "exclude",
                "include",
                "seeds",
                "union",
                "resources",
            ]
        ),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(["lr", "model", "if", "grid", "fixed", "mem", "range"]), inner
                ),
            ),
            max_leaves=8,
        ),
    )
)
def test_any_structure_gives_a_grid_or_a_spec_error(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    path = write(tmp_path, content)

    assert all(fault.startswith(f"{path}:") for fault in faults_of(path))


def large(tmp_path: Path, count: int) -> Path:
    """A grid of 100 times `count` runs."""
    axes = {
        "model": ["dense", "cnn"],
        "lr": {"logspace": [1e-5, 0.1, count]},
        "optimizer": ["sgd", "adam"],
        "dropout": [0, 0.1, 0.2, 0.3, 0.5],
        "weight_decay": {"linspace": [0, 0.01, 5]},
    }
    return write(tmp_path, {"grid": axes})


def test_ten_thousand_combinations_take_less_than_a_second(tmp_path: Path) -> None:
    path = large(tmp_path, 100)
    start = time.process_time()

    count = sum(1 for _ in load_grid(path).runs())

    assert count == 10_000
    assert time.process_time() - start < 1


MEASURE = """
import pathlib, resource, sys, time
from jobs.gridfile import load_grid
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
count = sum(1 for _ in load_grid(pathlib.Path(sys.argv[1])).runs())
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(count, time.process_time() - start, after - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_a_hundred_thousand_combinations_take_less_than_ten_seconds_and_300_mb(
    tmp_path: Path,
) -> None:
    argv = [sys.executable, "-c", MEASURE, str(large(tmp_path, 1000))]

    count, seconds, growth_kib = subprocess.run(
        argv, check=True, capture_output=True, text=True
    ).stdout.split()

    assert int(count) == 100_000
    assert float(seconds) < 10
    assert int(growth_kib) * 1024 < 300e6
