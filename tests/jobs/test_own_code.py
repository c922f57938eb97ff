"""What grids of built-in tasks can do, grids of the user's own code can: every form, end to end."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from anlp.records.files import read_metrics
from anlp.records.folders import RunFolder
from anlp.records.results import Outcome, read_result
from jobs.schedulers.base import Cause
from tests.support.own_code import FORMS, Form
from tests.support.submits import Ended, Place, wait_until

pytestmark = pytest.mark.slow

LOCAL = ("--on", "local", "--device", "cpu", "-y")


@pytest.fixture(params=FORMS, ids=lambda form: form.name)
def form(request: pytest.FixtureRequest) -> Form:
    given: Form = request.param
    return given


class Study:
    """A project with a grid file, and its runs."""

    def __init__(self, form: Form, folder: Path) -> None:
        self.form = form
        self.project = folder / "project"
        self.root = folder / "runs"
        self.place = Place(self.project / "mine.yaml", self.root)

    def write(self, grid: str) -> None:
        self.form.write(self.project, grid)

    def submit(self, *words: str) -> Ended:
        return self.place.submit(*LOCAL, *words)

    def command(self, module: str, *words: str) -> Ended:
        return self.place.submit(*words, module=module)

    def statuses(self) -> dict[str, list[str]]:
        """The ids of the runs by state."""
        found: dict[str, list[str]] = {}
        for run_id, status in self.place.states().items():
            found.setdefault(status.state.value, []).append(run_id)
        return found

    def runs(self) -> Iterator[RunFolder]:
        for spec in sorted(self.place.folder.path.glob("*/spec.json")):
            yield RunFolder(spec.parent)


@pytest.fixture
def study(form: Form, tmp_path: Path) -> Study:
    return Study(form, tmp_path)


def test_a_grid_runs_is_not_run_again_and_has_a_table(study: Study) -> None:
    study.write("grid: {lr: [0.1, 0.2], model: [small, large]}\nseeds: 3")

    first, second = study.submit(), study.submit()
    table = study.place.table()

    assert (first.code, second.code) == (0, 0), first.err
    assert "nothing to submit: 12 done" in second.out
    table = [row for row in table if row["row"] == "configuration"]
    assert [row["n"] for row in table] == ["3"] * 4
    assert {row["lr"] for row in table[:2]} == {"0.2"}
    for run in study.runs():
        result = read_result(run)
        assert result is not None
        assert result.epoch == 3
        assert result.metrics["test/acc"] == pytest.approx(
            result.metrics["val/acc"] + 0.02, abs=0.01
        )
        assert [row["epoch"] for row in read_metrics(run.metrics)][:3] == [1, 2, 3]


def test_an_exception_is_a_failed_run_with_its_type_and_line(study: Study) -> None:
    study.write("grid: {do: [ok, fail]}")

    ended = study.submit()
    status = study.command("jobs.status", "--json")

    assert ended.code == 1
    failed = [read_result(run) for run in study.runs()]
    error = next(result.error for result in failed if result and result.error)
    assert (error.type, error.message) == ("ValueError", "it fails at epoch 1")
    assert "in train" in error.traceback or "<module>" in error.traceback
    assert json.loads(status.out)["counts"]["failed"] == 1


def test_a_killed_run_is_lost_by_its_signal_and_retried(study: Study) -> None:
    study.write("fixed: {do: die}")

    ended = study.submit()
    (status,) = study.place.states().values()
    retried = study.command("jobs.retry", *LOCAL)

    assert ended.code == 1
    assert (status.state.value, status.cause) == ("lost", Cause.SIGNAL)
    assert "SIGKILL" in status.detail
    assert "1 run to repeat" in retried.out
    assert len(list(next(study.runs()).attempts.glob("*.json"))) == 2


def test_a_metric_that_ends_as_nan_is_a_diverged_run(study: Study) -> None:
    study.write("fixed: {do: nan}")

    study.submit()

    (run,) = study.runs()
    result = read_result(run)
    assert result is not None
    assert result.outcome is Outcome.DIVERGED


def test_a_stopped_run_continues_from_its_checkpoint(study: Study) -> None:
    study.write("fixed: {do: linger}")
    process = study.place.start(*LOCAL)
    wait_until(
        lambda: any(len(read_metrics(run.metrics)) > 1 for run in study.runs()), lambda: "epochs"
    )

    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    (status,) = study.place.states().values()
    again = study.submit()

    assert process.returncode == 130
    assert status.state.value == "interrupted"
    assert again.code == 0, again.err
    (run,) = study.runs()
    assert "begins at epoch 2" in run.log.read_text()
    assert [row["epoch"] for row in read_metrics(run.metrics)][:3] == [1, 2, 3]


def test_runs_killed_with_their_launcher_are_done_once_by_the_next_submit(study: Study) -> None:
    study.write("grid: {lr: [0.1, 0.2, 0.3]}\nseeds: 2\nfixed: {epochs: 4}")
    process = study.place.start(*LOCAL)
    wait_until(lambda: any(run.result.exists() for run in study.runs()), lambda: "a result")

    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    again = study.submit()

    assert again.code == 0, again.err
    assert study.statuses().keys() == {"done"}
    assert all(read_metrics(run.metrics)[-1].get("val/acc") is not None for run in study.runs())


def test_fresh_seeds_of_the_best_and_small_runs(study: Study) -> None:
    study.write("grid: {lr: [0.1, 0.2]}\nseeds: 2")
    study.submit()

    confirmed = study.submit("--confirm", "1", "--seeds", "2")
    small = study.submit("--smoke")

    assert confirmed.code == 0, confirmed.err
    assert "the 1 best by val/acc with 2 fresh seeds" in confirmed.out
    assert small.code == 0, small.err
    made = study.root / "mine-smoke"
    results = [read_result(RunFolder(path.parent)) for path in made.glob("*/result.json")]
    assert {result.epoch for result in results if result} == {1}


def test_a_changed_file_is_said_and_does_not_change_what_is_done(study: Study) -> None:
    study.write("grid: {lr: [0.1]}")
    study.submit()
    file = next(path for path in study.project.glob("*.py"))
    file.write_text(file.read_text() + "\n# edited\n")

    again, replaced = study.submit(), study.submit("--replace")

    assert "has changed since 1 run" in again.out
    assert "nothing to submit: 1 done" in again.out
    assert replaced.code == 0
    (run,) = study.runs()
    result = read_result(run)
    assert result is not None
    copy = study.place.folder.path / result.provenance["program"]["code"] / file.name
    assert copy.read_text().endswith("# edited\n")


def test_commands_about_single_runs_work(study: Study) -> None:
    study.write("grid: {lr: [0.1, 0.2]}")
    study.submit()
    run_id = next(study.runs()).run_id

    explained = study.command("jobs.explain", run_id)
    log = study.command("jobs.logs", run_id)
    report = study.command("analysis.convergence", "--json")

    assert "val/acc=" in explained.out, explained.err
    assert "begins at epoch 1" in log.out
    assert report.code == 0, report.err


def test_a_program_that_says_nothing_of_continuing_is_lost_when_it_is_killed(
    tmp_path: Path,
) -> None:
    text = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    study = Study(Form("plain", {"train.py": text}, "program: train.py"), tmp_path)
    study.write("fixed: {lr: 0.1}")

    ended = study.submit()
    (status,) = study.place.states().values()

    assert ended.code == 1
    assert (status.state.value, status.cause) == ("lost", Cause.SIGNAL)


def test_canaries_go_first_and_hold_the_rest_where_they_fail(study: Study) -> None:
    study.write("fixed: {do: fail}\ngrid: {lr: [0.1, 0.2], model: [small, large]}")

    ended = study.submit("--canary")

    assert ended.code == 1
    assert "a canary failed, so the other 2 runs did not begin" in ended.out
    assert len(list(study.runs())) == 2


def test_a_report_is_written_and_its_next_runs_are_runs_of_the_same_code(study: Study) -> None:
    study.write("grid: {lr: [0.1, 0.2], model: [small, large]}\nseeds: 3")
    study.submit()

    report = study.command("analysis.report")
    proposed = study.place.folder.path / "report" / "mine-next.yaml"
    planned = Place(proposed, study.root).submit("-n", "--json", *LOCAL)

    assert report.code == 0, report.err
    assert planned.code == 0, planned.err
    tasks = {run["task"] for run in json.loads(planned.out)["runs"]}
    assert tasks == {status.form["task"] for status in study.place.states().values()}
