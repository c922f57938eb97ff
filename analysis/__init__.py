"""What runs on a laptop: finished runs become tables and charts. Never imports torch.

The names of `__all__` are public: `load` reads the runs of a grid as tidy DataFrames, and the
other functions return what the commands print. Commands are submodules: `python -m
analysis.tables`, or `anlp tables`.
"""

from __future__ import annotations

import os
import sys

if sys.argv[:1] == ["-m"] and not getattr(sys.flags, "safe_path", False):
    # `python -m` looks for this package, with the current folder first on the path: a file there
    # (random.py, queue.py) or a folder (anlp) would hide a module. Only a checkout stays: behind
    # the standard library, and before what is installed, which may be another checkout.
    _here, _own = sys.path[0], os.path.dirname(__path__[0])  # noqa: PTH120 - pathlib is not safe yet
    _rest = [entry for entry in sys.path if entry != _here]
    _at = next((n for n, entry in enumerate(_rest) if entry.endswith("-packages")), len(_rest))
    sys.path[:] = _rest[:_at] + [_own] * (_own == _here) + _rest[_at:]

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from analysis.data.load import Runs
    from analysis.results.plan import Plan
    from analysis.results.table import Table

__all__ = [
    "Plan",
    "Runs",
    "Table",
    "importance_table",
    "load",
    "render_table",
    "results_table",
    "verdict_table",
]

_CLASSES = {
    "Plan": "analysis.results.plan",
    "Runs": "analysis.data.load",
    "Table": "analysis.results.table",
}


def __getattr__(name: str) -> Any:
    """Import the class that is asked for, so that `import analysis` itself takes no time."""
    if name not in _CLASSES:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    return getattr(import_module(_CLASSES[name]), name)


def load(grid: str | Path, *, history: bool = True) -> Runs:
    """Return the runs of a grid as tidy frames.

    Args:
        grid: a name under `runs/` (or `$ANLP_RUNS`), a folder, the grid's YAML file, or an address
            `wandb://entity/project[/group]`.
        history: whether to read the learning curves, too.

    Raises:
        UserError: there is no such grid, or the server cannot be read.
    """
    from analysis.data import load as module

    return module.load(grid, history=history)


def results_table(grid: str | Path | Runs, plan: Plan | None = None, *, only: str = "") -> Table:
    """Return the results table that `anlp tables` prints.

    Args:
        grid: what `load` takes or returns.
        plan: metrics, rows and methods; the usual metrics of these runs unless given.
        only: a filter such as `model=cnn lr<0.1`.

    Raises:
        UserError: there is no such grid, no run has finished, or a name is unknown.
    """
    from analysis.cli.arguments import select_runs
    from analysis.results.plan import Plan
    from analysis.results.table import build_table, chosen_metrics

    loaded = _loaded(grid, history=False)
    runs = select_runs(loaded.runs, only)
    return build_table(runs, plan or Plan(*chosen_metrics(runs, "", ""), only=only), loaded.grid)


def render_table(table: Table, form: str = "text") -> str:
    """Return a results table in one of the formats `text`, `md`, `csv`, `latex`, `html`, `json`.

    Raises:
        UserError: the format is unknown.
    """
    from analysis.results.render import RENDERERS
    from anlp.core.errors import known_name

    return RENDERERS[known_name(form, RENDERERS, "format")](table)


def verdict_table(grid: str | Path | Runs, metric: str = "", *, only: str = "") -> pd.DataFrame:
    """Return the verdict on each run, with cause and evidence, as `anlp convergence` finds it.

    Args:
        grid: what `load` takes or returns; with its history.
        metric: what runs are judged by; the usual one unless given.
        only: a filter, also by the verdict: `verdict=stuck,diverged`.

    Raises:
        UserError: there is no such grid, no run, or the chance level is unknown.
    """
    from dataclasses import replace

    from analysis.cli.arguments import select_runs
    from analysis.verdicts.breakdown import build_breakdown
    from analysis.verdicts.judge import judge_runs
    from analysis.verdicts.render import verdict_frame

    loaded = _loaded(grid, history=True)
    judged = judge_runs(loaded.runs, loaded.history, metric or None)
    judged = replace(judged, runs=select_runs(judged.runs, only))
    return verdict_frame(build_breakdown(judged, loaded.grid))


def importance_table(
    grid: str | Path | Runs, metric: str = "", *, only: str = "", forest: bool = False
) -> pd.DataFrame:
    """Return the importance of each setting, the most important first, as `anlp importance` does.

    Args:
        grid: what `load` takes or returns.
        metric: what is explained; the usual one unless given.
        only: a filter such as `model=cnn lr<0.1`.
        forest: grow random forests for comparison, which needs scikit-learn.

    Raises:
        UserError: there is no such grid, no finished run, or nothing varies.
    """
    import pandas as pd

    from analysis.cli.arguments import choose_metric, select_runs
    from analysis.effects.design import build_design
    from analysis.effects.explain import explain
    from analysis.effects.render import importance_rows

    runs = select_runs(_loaded(grid, history=False).runs, only)
    design = build_design(runs, choose_metric(runs, metric))
    return pd.DataFrame(importance_rows(explain(design, with_forest=forest)))


def _loaded(grid: str | Path | Runs, *, history: bool) -> Runs:
    return load(grid, history=history) if isinstance(grid, str | Path) else grid
