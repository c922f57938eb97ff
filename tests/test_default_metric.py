"""Status, confirmation runs and tables rank the runs of a grid by one default metric."""

from __future__ import annotations

from pathlib import Path

import pytest

import analysis
from analysis.data.metric_choice import usual_metric
from anlp.core.metrics import default_metric
from anlp.records.files import write_json
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions
from anlp.records.results import Outcome
from jobs.runs.queries import selection_metric
from jobs.runs.status import read_states
from tests.support.grids import a_spec, submit, write_result


@pytest.mark.parametrize(
    ("monitored", "metrics", "metric"),
    [
        (["val/loss", "val/loss"], ["val/loss", "val/acc"], "val/loss"),
        (["val/loss", "val/acc"], ["val/loss", "val/acc"], "val/acc"),
        (["val/acc", "val/acc"], ["val/loss", "val/f1"], "val/f1"),
    ],
)
def test_jobs_and_analysis_choose_the_metric_alike(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    monitored: list[str],
    metrics: list[str],
    metric: str,
) -> None:
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path))
    folder = GridFolder(tmp_path / "demo")
    specs = [a_spec(lr=0.1 * (1 + n), monitor=name) for n, name in enumerate(monitored)]
    tag = submit(folder, specs)
    for spec in specs:
        made = write_result(folder, spec, tag, Outcome.OK, metrics=dict.fromkeys(metrics, 0.5))
        write_json(made.spec, {"spec": spec.to_json(), "options": RunOptions().to_json()})

    statuses = list(read_states(folder, lambda _: {}).values())

    assert selection_metric(statuses) == metric
    assert usual_metric(analysis.load("demo", history=False).runs) == metric


def test_accuracy_by_its_whole_name_comes_before_the_loss() -> None:
    assert default_metric({"val/accuracy", "val/loss"}, ()) == "val/accuracy"
