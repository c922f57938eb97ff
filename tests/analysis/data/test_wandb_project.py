from __future__ import annotations

import json
import os
from collections.abc import Iterator
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
from anlp.records.results import Outcome, RunResult
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

    spec = wandb_project._spec(told)

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

    def lines(run: Any) -> list[dict[str, Any]]:
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
