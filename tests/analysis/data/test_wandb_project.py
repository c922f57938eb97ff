from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import wandb
from pandas.testing import assert_frame_equal

import analysis
from analysis.data import wandb_project
from analysis.data.frames import frame, history_frame
from analysis.data.load import from_wandb
from analysis.data.retry import Retries
from analysis.data.wandb_project import parse_project
from anlp.core.errors import UserError
from anlp.core.spec import RunSpec
from anlp.records.results import Outcome, RunRecord, RunResult
from anlp.tasks import make_spec
from tests.support.wandb_server import KEY, Stub

pytestmark = pytest.mark.slow

HISTORY = [
    {"_step": 0, "_timestamp": 1.0, "val/acc": 0.1},
    {"_step": 1, "val/acc": 0.9, "val/loss": "NaN"},
]


@pytest.fixture(scope="module", autouse=True)
def service() -> Iterator[None]:
    yield
    wandb.teardown()  # ends the process that sends the requests


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stub]:
    server = Stub()
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "BASE_URL": server.url,
        "API_KEY": KEY,
        "ERROR_REPORTING": "false",
        "SILENT": "true",
    }.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_project, "Retries", lambda rule: Retries(rule, first_wait_s=0.01))


def stored(spec: RunSpec, outcome: Outcome | None = Outcome.OK, **changes: Any) -> dict[str, Any]:
    """A run as the server has it."""
    config = {
        **spec.settings.values(),
        "task": spec.task,
        "seed": spec.seed,
        "config_id": spec.config_id,
    }
    result = RunResult(
        spec.run_id, outcome or Outcome.OK, {"test/acc": 0.98}, epoch=1, epochs=1, seconds=2.0
    )
    ended = {} if outcome is None else {**result.to_summary(), "outcome": outcome.value}
    return {
        "entity": "me",
        "project": "anlp",
        "run_id": spec.run_id,
        "name": "x",
        "id": spec.run_id,
        "tags": [],
        "history": HISTORY,
        "summary": {"_step": 1, "val/acc": 0.9, **ended},
        "exit_code": 0,
        "job_type": "search",
        "config": config,
        "raw_config": json.dumps({name: {"value": value} for name, value in config.items()}),
        "state": "running" if outcome is None else "finished",
        "group": "mnist",
        "is_preempted": False,
        **changes,
    }


def put(stub: Stub, *runs: dict[str, Any]) -> None:
    stub.put({f"{run['entity']}/{run['project']}/{run['run_id']}": run for run in runs})


def specs(count: int) -> list[RunSpec]:
    return [make_spec("mnist", {"lr": 0.01}, seed) for seed in range(count)]


def test_runs_come_in_pages_and_none_is_asked_for_alone(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_project, "PAGE", 3)
    put(stub, *(stored(spec) for spec in specs(7)))

    records = from_wandb("wandb://me/anlp/mnist", pytest.fail, history=False)

    assert {record.run_id for record in records} == {spec.run_id for spec in specs(7)}
    assert stub.counts() == {"Viewer": 1, "Runs": 3}


def test_a_run_has_its_settings_result_and_every_epoch(stub: Stub) -> None:
    put(stub, stored(specs(1)[0], job_type="confirm"))

    (record,) = from_wandb("wandb://me/anlp", pytest.fail)

    assert (record.settings, record.purpose, record.outcome) == (
        specs(1)[0].settings,
        "confirm",
        Outcome.OK,
    )
    assert record.result is not None
    assert (record.result.metrics, record.result.seconds) == ({"test/acc": 0.98}, 2.0)
    assert record.history == (
        {"epoch": 0, "val/acc": 0.1},
        {"epoch": 1, "val/acc": 0.9, "val/loss": None},
    )


def test_a_program_that_logs_to_wandb_itself_keeps_its_config_beside_its_settings() -> None:
    told = {"lr": 0.5, "depth": 3, "task": "program:train.py", "seed": 2, "anlp": {"lr": 0.1}}

    spec, _ = wandb_project._spec(told)

    assert (spec.settings.values(), spec.seed) == ({"lr": 0.1}, 2)


def test_a_group_is_a_part_of_the_project(stub: Stub) -> None:
    one, other = specs(2)
    put(stub, stored(one), stored(other, group="else"))

    assert [record.run_id for record in from_wandb("wandb://me/anlp/else", pytest.fail)] == [
        other.run_id
    ]


@pytest.mark.parametrize("state", ["running", "crashed"])
def test_a_run_without_a_result_is_unfinished(stub: Stub, state: str) -> None:
    put(stub, stored(specs(1)[0], None, state=state))

    (record,) = from_wandb("wandb://me/anlp", pytest.fail)

    assert record.outcome is None
    assert len(record.history) == 2


def test_a_run_that_is_repeated_has_no_result_meanwhile(stub: Stub) -> None:
    put(stub, stored(specs(1)[0], Outcome.FAILED, state="running"))

    (record,) = from_wandb("wandb://me/anlp", pytest.fail)

    assert record.outcome is None


def test_a_result_of_an_earlier_attempt_does_not_count(stub: Stub) -> None:
    run = stored(specs(1)[0], Outcome.FAILED, state="failed")
    run["summary"]["outcome"] = "interrupted"
    put(stub, run)

    (record,) = from_wandb("wandb://me/anlp", pytest.fail)

    assert record.outcome is None


def test_what_an_older_version_sent_is_used_and_said(stub: Stub) -> None:
    run = stored(specs(1)[0])
    del run["summary"]["result"]
    put(stub, run)
    notes: list[str] = []

    (record,) = from_wandb("wandb://me/anlp", notes.append)

    assert record.result is not None
    assert record.result.metrics == {"val/acc": 0.9, "test/acc": 0.98}
    assert "the metrics are those of its last row" in notes[0]


def test_a_foreign_run_is_skipped_with_a_note(stub: Stub) -> None:
    put(stub, stored(specs(1)[0], raw_config='{"task": {"value": "sorting"}}'))
    notes: list[str] = []

    assert from_wandb("wandb://me/anlp", notes.append) == []
    assert notes == [
        f"{specs(1)[0].run_id}: skipped, its config names a task that is not known here: 'sorting'"
    ]


def test_runs_of_a_task_that_is_not_installed_are_counted_in_one_sentence(stub: Stub) -> None:
    put(stub, *(changed(stored(spec), task="table") for spec in specs(3)))

    records, (note,) = read_noting()

    assert records == []
    assert note.startswith("3 runs (")
    assert note.endswith("skipped, its config names a task that is not known here: 'table'")


def test_what_was_fetched_is_not_fetched_again(stub: Stub) -> None:
    one, two, live = specs(3)
    put(stub, stored(one), stored(live, None))
    first = analysis.load("wandb://me/anlp/mnist")
    put(stub, stored(two))
    before = stub.counts()["HistoryPage"]
    again = analysis.load("wandb://me/anlp/mnist")

    assert (before, stub.counts()["HistoryPage"]) == (2, 4)
    assert (first.grid, len(first.runs), len(again.runs), len(again.history)) == ("mnist", 2, 3, 6)
    records = from_wandb("wandb://me/anlp/mnist", pytest.fail)
    assert_frame_equal(again.runs, frame(records))
    assert_frame_equal(again.history, history_frame(records))


def test_a_server_that_fails_in_the_middle_costs_only_what_was_not_fetched(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_project, "THREADS", 1)
    put(stub, *(stored(spec) for spec in specs(4)))
    original, served = wandb_project._lines, list[str]()

    def lines(run: Any) -> list[Mapping[str, Any]]:
        if len(served) == 2:
            from wandb.errors import CommError

            raise CommError("HTTP 503")
        served.append(run.id)
        return original(run)

    monkeypatch.setattr(wandb_project, "_lines", lines)
    with pytest.raises(UserError, match=r"does not answer any more .* repeat the command"):
        analysis.load("wandb://me/anlp")
    monkeypatch.setattr(wandb_project, "_lines", original)
    before = stub.counts()["HistoryPage"]
    loaded = analysis.load("wandb://me/anlp")

    assert (len(loaded.runs), before, stub.counts()["HistoryPage"]) == (4, 2, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "status"), [("Runs", 429), ("HistoryPage", 429), ("HistoryPage", 503)]
)
def test_a_busy_server_is_asked_again(stub: Stub, operation: str, status: int) -> None:
    put(stub, stored(specs(1)[0]))
    stub.fail(operation, status, 1)

    (record,) = from_wandb("wandb://me/anlp", pytest.fail)

    assert len(record.history) == 2
    assert stub.counts()[str(status)] == 1


@pytest.mark.parametrize(
    ("operation", "status"), [("HistoryPage", 404), ("HistoryPage", 403), ("RunHistoryKeys", 400)]
)
def test_a_run_that_is_refused_is_skipped_with_a_note(
    stub: Stub, operation: str, status: int
) -> None:
    put(stub, *(stored(spec) for spec in specs(3)))
    stub.fail(operation, status, 1)
    notes: list[str] = []

    assert len(from_wandb("wandb://me/anlp", notes.append)) == 2
    assert len(notes) == 1
    assert "skipped, its history cannot be read" in notes[0]


def test_listing_leaves_no_folders_behind(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    put(stub, stored(specs(1)[0]))

    from_wandb("wandb://me/anlp", pytest.fail, history=False)

    assert list((tmp_path / "scratch").iterdir()) == []
    assert "WANDB_DIR" not in os.environ


def changed(run: dict[str, Any], drop: str = "", **config: Any) -> dict[str, Any]:
    """A run whose config was changed by hand."""
    told = {name: value for name, value in {**run["config"], **config}.items() if name != drop}
    raw = json.dumps({name: {"value": value} for name, value in told.items()})
    return {**run, "config": told, "raw_config": raw}


def read_noting(address: str = "wandb://me/anlp") -> tuple[list[RunRecord], list[str]]:
    notes: list[str] = []
    return from_wandb(address, notes.append), notes


def test_copies_under_other_ids_are_no_further_seeds_and_are_counted(stub: Stub) -> None:
    runs = [stored(spec) for spec in specs(2)]
    copies = [
        {**run, "run_id": f"{'0z'[seed % 2]}copy{seed}", "id": f"{'0z'[seed % 2]}copy{seed}"}
        for seed, run in enumerate(runs)
    ]
    put(stub, *runs, *copies)

    records, notes = read_noting()
    loaded = analysis.load("wandb://me/anlp")

    assert {record.run_id for record in records} == {spec.run_id for spec in specs(2)}
    assert notes == [
        "2 runs (0copy0, zcopy1): left out, a copy of a run that is here under another id: "
        "the same settings and seed"
    ]
    assert loaded.notes == tuple(notes)
    assert analysis.load("wandb://me/anlp").notes == tuple(notes)  # from what is kept, too
    assert len(loaded.runs) == 2


def test_a_lone_copy_counts_once_and_is_named(stub: Stub) -> None:
    run = stored(specs(1)[0])
    put(stub, {**run, "run_id": "copy", "id": "copy"}, {**run, "run_id": "dopy", "id": "dopy"})

    records, notes = read_noting()

    assert [record.run_id for record in records] == ["copy"]
    assert len(notes) == 2
    assert "dopy: left out, a copy" in notes[0]
    assert "copy: its id is not that of its settings and seed" in notes[1]


@pytest.mark.parametrize("change", [{"drop": "lr"}, {"lr": 0.5}, {"drop": "model"}])
def test_settings_that_do_not_fit_the_id_are_left_out_and_counted(
    stub: Stub, change: dict[str, Any]
) -> None:
    other = make_spec("mnist", {"lr": 0.02, "model": "cnn"}, 0)
    wrong = [make_spec("mnist", {"lr": 0.01, "model": "cnn"}, seed) for seed in range(5)]
    put(stub, stored(other), *(changed(stored(spec), **change) for spec in wrong))

    records, notes = read_noting()

    assert [record.run_id for record in records] == [other.run_id]
    (note,) = notes
    assert note.startswith("5 runs (")
    assert "left out, its id does not fit its settings" in note


def test_a_key_that_is_no_setting_is_ignored_and_named_once(stub: Stub) -> None:
    runs = [changed(stored(spec), note="by hand", dataset_version=3) for spec in specs(4)]
    put(stub, *runs)

    records, notes = read_noting()

    assert len(records) == 4
    (note,) = notes
    assert note.startswith("4 runs (")
    assert note.endswith("no settings of task mnist, ignored: dataset_version, note")
    assert list(analysis.load("wandb://me/anlp").notes) == notes


def test_of_a_step_that_was_logged_twice_the_later_row_counts(stub: Stub) -> None:
    again = [{"_step": 1, "val/acc": 0.95, "val/loss": 0.2}, {"_step": 2, "val/acc": 0.97}]
    put(stub, stored(specs(1)[0], history=[*HISTORY, *again]))

    (record,), (note,) = read_noting()

    assert record.history == (
        {"epoch": 0, "val/acc": 0.1},
        {"epoch": 1, "val/acc": 0.95, "val/loss": 0.2},
        {"epoch": 2, "val/acc": 0.97},
    )
    assert "some steps were logged more than once" in note


def test_settings_of_own_code_are_known_by_the_id_of_the_configuration(stub: Stub) -> None:
    spec = make_spec("study.py:train", {"lr": 1.0, "depth": 2, "name": "a"}, 0)
    other = make_spec("study.py:train", {"lr": 2.0, "depth": 2, "name": "a"}, 0)
    # a server may send 1.0 as 1
    put(stub, changed(stored(spec), lr=1), changed(stored(other), note="by hand"))

    (record,), (note,) = read_noting()

    assert record.config_id == spec.config_id
    assert note.startswith(f"{other.run_id}: left out, its id does not fit its settings")


@pytest.mark.parametrize("text", ["wandb://", "wandb://me", "wandb://me/", "wandb:///anlp"])
def test_an_address_names_entity_and_project(text: str) -> None:
    with pytest.raises(UserError, match="expected wandb://entity/project"):
        parse_project(text)


def test_what_was_pulled_lies_where_no_grid_is_looked_for() -> None:
    assert parse_project("wandb://me/anlp").folder == Path(".wandb/me/anlp")
    assert parse_project("wandb://me/anlp/a/../b").folder == Path(".wandb/me/anlp/a%2F..%2Fb")
    assert parse_project("wandb://../..").folder.parts[1:] == ("%2E%2E", "%2E%2E")


def test_without_a_key_it_is_one_sentence(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY")

    with pytest.raises(UserError, match=r"no key for 127.0.0.1:.* wandb login"):
        from_wandb("wandb://me/anlp")


def test_a_refused_key_is_one_sentence_without_the_key(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)

    with pytest.raises(UserError, match="refuses the key") as caught:
        from_wandb("wandb://me/anlp")
    assert "xxx" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [("me/other", "no project 'me/other'"), ("me/anlp/none", "has no run of a group 'none'")],
)
def test_what_is_not_there_is_one_sentence(stub: Stub, address: str, sentence: str) -> None:
    put(stub, stored(specs(1)[0]))

    with pytest.raises(UserError, match=sentence):
        from_wandb(f"wandb://{address}")


def test_without_a_server_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)

    with pytest.raises(UserError, match=r"no answer from http://127.0.0.1:9"):
        from_wandb("wandb://me/anlp")
