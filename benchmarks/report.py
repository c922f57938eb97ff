"""`python -m benchmarks.report`: cost of a report of 10,000 runs, part by part, beside others.

Two grids of 10,000 runs of 100 epochs: a factorial of five settings with five seeds each, and
10,000 configurations that differ in one number. Each side is a process of its own. The others:
`pandas.plotting.parallel_coordinates` and optuna's parallel coordinates for ours, optuna's
importance for the exact one; the latter also on a surface whose shares are known. Wants `pip
install -e '.[bench]'`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from anlp.console.command import run_command
from anlp.core.errors import EXIT_OK
from benchmarks.made import factorial_grid, trained_grid
from benchmarks.measure import Cost, describe_machine, run

METRIC = "val/acc"
LEVELS = (5, 6, 4, 4)  # models, rates, optimizers, dropouts
NAMES = ("model", "lr", "optimizer", "dropout")


def whole_report(place: str) -> dict[str, float]:
    """Return the command, its parts timed in CPU seconds from outside."""
    from analysis import report

    parts: dict[str, float] = {}
    for name in ("load", "find_out", "advise", "build_document", "report_files"):
        setattr(report, name, _timed(getattr(report, name), name, parts))
    with tempfile.TemporaryDirectory() as out:
        report.main([place, "--out", out])
        parts["MB of the page"] = (Path(out) / "report.html").stat().st_size / 1e6
    return parts


def our_parallel(place: str, form: str = "png") -> dict[str, float]:
    """Return the static chart from the frame; libraries are imported before, on every side."""
    from analysis.plots.parallel import draw_parallel, parallel_info, size_inches
    from analysis.plots.style import new_figure, save

    runs = _frame(place)
    with tempfile.TemporaryDirectory() as out:
        path = Path(out) / f"parallel.{form}"
        with _clock() as taken:
            info = parallel_info(runs, METRIC)
            with new_figure(*size_inches(info)) as figure:
                draw_parallel(info, figure.add_subplot())
                save(figure, path)
        return {**taken, "MB": path.stat().st_size / 1e6}


def pandas_parallel(place: str) -> dict[str, float]:
    """`pandas.plotting.parallel_coordinates`: one scale for all axes, numbers only."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from pandas.plotting import parallel_coordinates

    runs = _frame(place)
    with _clock() as taken:
        numbers = runs[["lr", "dropout", "batch_size", METRIC]].assign(group=runs["optimizer"])
        parallel_coordinates(numbers, "group")
        with tempfile.TemporaryDirectory() as out:
            plt.savefig(Path(out) / "parallel.png", dpi=150)
    return taken


def optuna_parallel(place: str) -> dict[str, float]:
    """`optuna.visualization.plot_parallel_coordinate`, written as a page."""
    from optuna.visualization import plot_parallel_coordinate

    study = _study(_frame(place))
    with _clock() as taken:
        plot_parallel_coordinate(study).to_html()
    return taken


SIDES: Mapping[str, Callable[[str], dict[str, float]]] = {
    "report": whole_report,
    "parallel": our_parallel,
    "parallel as SVG": partial(our_parallel, form="svg"),
    "pandas parallel_coordinates": pandas_parallel,
    "optuna parallel": optuna_parallel,
}
OTHERS = ("pandas parallel_coordinates", "optuna parallel")


def compare_report(place: Path) -> None:
    """Prints what the report costs, from nothing and again."""
    time.sleep(3)  # what changed within the last two seconds would be read again
    shutil.rmtree(place / ".pulled", ignore_errors=True)
    for look in ("first look", "again"):
        cost, parts = measure("report", place)
        inside = "  ".join(f"{name} {value:.1f}" for name, value in parts.items())
        print(
            f"{place.name}, {look}: {cost.wall_s:.1f} s, {cost.cpu_s:.1f} CPU s, "
            f"{cost.peak_mib:.0f} MiB ({inside})"
        )


def compare_parallel(place: Path) -> None:
    """Prints ratios to what others take for parallel coordinates of the same frame."""
    ours = measure("parallel", place)[1]
    own = ours["cpu_s"]
    print(f"parallel coordinates as PNG: {own:.2f} CPU s, {ours['MB']:.2f} MB")
    vector = measure("parallel as SVG", place)[1]
    print(f"  as SVG: {vector['cpu_s']:.2f} CPU s, {vector['MB']:.2f} MB")
    for other in OTHERS:
        theirs = measure(other, place)[1]["cpu_s"]
        print(f"  {other}: {theirs:.2f} CPU s, {theirs / own:.1f} times as much")


def compare_importance() -> None:
    """Prints importance on a surface in which lr and optimizer interact, ours beside others'."""
    scores = interaction_surface(np.random.default_rng(0))
    from analysis.stats.anova import factorial_anova

    with _clock() as taken:
        exact = factorial_anova(scores)
    own = taken["cpu_s"]
    print(f"importance over {scores.size:,} runs, lr and optimizer interact: {', '.join(NAMES)}")
    for name, shares in (
        ("first", exact.first),
        ("total", exact.joint),
        ("Shapley", exact.shapley),
    ):
        print(f"  exact, {name}: {_row(shares)}   {1000 * own:.2f} CPU ms")
    study = _study(_runs_of(scores), NAMES)
    for name in ("Fanova", "PedAnova", "MeanDecreaseImpurity"):
        found = _optuna_importance(study, f"{name}ImportanceEvaluator")
        ratio = found["cpu_s"] / own
        print(
            f"  optuna {name}: {_row(found[factor] for factor in NAMES)}   "
            f"{ratio:,.0f} times as much"
        )


def _row(shares: Iterable[float]) -> str:
    return "  ".join(f"{share:.3f}" for share in shares)


def interaction_surface(rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return 5 models, 6 rates, 4 optimizers, 4 dropouts, 5 seeds; rate and optimizer interact."""
    model, lr, optimizer, dropout, _ = np.indices((*LEVELS, 5)).astype(float)
    best = np.array([4.0, 2.0, 2.0, 1.0])[optimizer.astype(int)]
    surface = 0.9 - 0.04 * (lr - best) ** 2 + 0.002 * model - 0.001 * dropout
    return np.asarray(surface + rng.normal(0, 0.005, surface.shape), dtype=np.float64)


def measure(side: str, place: Path) -> tuple[Cost, dict[str, float]]:
    """Return one side in a process of its own: what the process cost, and what it said."""
    cost = run([sys.executable, "-m", "benchmarks.report", "--side", side, str(place)])
    return cost, json.loads(cost.output.splitlines()[-1])


def _timed(function: Callable[..., Any], name: str, parts: dict[str, float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        started = time.process_time()
        try:
            return function(*arguments, **options)
        finally:
            parts[name] = time.process_time() - started

    return timed


@contextmanager
def _clock() -> Iterator[dict[str, float]]:
    taken: dict[str, float] = {}
    started = time.process_time()
    yield taken
    taken["cpu_s"] = time.process_time() - started


def _frame(place: str) -> Any:
    import analysis

    return analysis.load(place, history=False).runs


def _runs_of(scores: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
    import pandas as pd

    indices = np.indices(scores.shape).reshape(5, -1)
    rates = 10.0 ** (indices[1] - 5)
    names = [f"m{k}" for k in indices[0]], rates, [f"o{k}" for k in indices[2]], indices[3] / 10
    return pd.DataFrame({**dict(zip(NAMES, names, strict=True)), METRIC: scores.ravel()})


def _study(
    runs: Any, names: Sequence[str] = ("model", "lr", "optimizer", "dropout", "batch_size")
) -> Any:
    """Return the runs as optuna's trials: categories, numbers in their range, rates logarithmic."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space: dict[str, Any] = {}
    for name in names:
        levels = sorted(set(runs[name]))
        is_text = isinstance(levels[0], str)
        space[name] = (
            CategoricalDistribution(levels)
            if is_text
            else FloatDistribution(float(levels[0]), float(levels[-1]), log=name == "lr")
        )
    study = optuna.create_study(direction="maximize")
    rows = runs[[*names, METRIC]].to_dict("records")
    params = [
        {n: row[n] if isinstance(row[n], str) else float(row[n]) for n in names} for row in rows
    ]
    study.add_trials(
        optuna.trial.create_trial(params=found, distributions=space, value=float(row[METRIC]))
        for found, row in zip(params, rows, strict=True)
    )
    return study


def _optuna_importance(study: Any, evaluator: str) -> dict[str, float]:
    import optuna

    maker = getattr(optuna.importance, evaluator)
    with _clock() as taken:
        options = {} if evaluator.startswith("Ped") else {"seed": 0}
        found = optuna.importance.get_param_importances(study, evaluator=maker(**options))
    return {**taken, **found}


def _grids(epochs: int) -> dict[str, Callable[[Path], object]]:
    return {
        f"factorial{epochs}": partial(factorial_grid, epochs=epochs),
        f"trained10000x{epochs}": partial(trained_grid, count=10_000, epochs=epochs),
    }


def main(argv: Sequence[str]) -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--side", choices=tuple(SIDES), help=argparse.SUPPRESS)
    parser.add_argument(
        "place", nargs="?", type=Path, help="where the made grids are, or are to be; kept"
    )
    options = parser.parse_args(argv)
    if options.side:
        print(json.dumps(SIDES[options.side](str(options.place))))
        return EXIT_OK
    print(
        {
            **describe_machine(),
            **{name: version(name) for name in ("pandas", "matplotlib", "optuna")},
        }
    )
    with tempfile.TemporaryDirectory() as temporary:
        root = options.place or Path(temporary)
        for name, make in _grids(options.epochs).items():
            if not (root / name).is_dir():
                make(root)
            compare_report(root / name)
        compare_parallel(root / f"factorial{options.epochs}")
    compare_importance()
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(run_command(lambda: main(sys.argv[1:])))
