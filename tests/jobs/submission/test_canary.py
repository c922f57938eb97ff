from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from anlp.records.files import read_jsonl
from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs.config.resources import Resources
from jobs.runs.options import SubmitOptions
from jobs.runs.status import read_states
from jobs.schedulers import registry
from jobs.schedulers.base import Batch, Cause, Job, JobHandle, JobState, Phase, report_to_none
from jobs.submission.launch import submit_specs
from tests.support.grids import a_spec, finish, journal_lines
from tests.support.quick_runner import call_submit, use_quick_runner

DENSE = [a_spec(0, model="dense", lr=lr) for lr in (0.1, 0.2, 0.3)]
CNN = [a_spec(0, model="cnn", lr=lr) for lr in (0.4, 0.5)]
SPECS = [*DENSE, *CNN]
CANARY = SubmitOptions(quiet=True, canary=True)


class Cluster:
    """Accepts arrays up to a size and says what it was told to."""

    name = "slurm"
    notes: tuple[str, ...] = ()

    def __init__(self, most: int = 100) -> None:
        self.batches: list[Batch] = []
        self.most = most
        self.answers: dict[JobHandle, JobState] = {}

    def submit(
        self, batch: Batch, resources: Resources, accepted: Callable[[Job], None] = report_to_none
    ) -> list[JobHandle]:
        del resources
        self.batches.append(batch)
        sizes = [1] * batch.size if batch.apart else [batch.size]
        handles: list[JobHandle] = []
        for first, size in enumerate(sizes):
            if len(handles) < self.most:
                job = Job(f"{len(self.batches)}0{first}", first, size)
                accepted(job)
                handles += [JobHandle(self.name, job.native_id, index) for index in range(size)]
        return handles

    def cluster(self) -> str:
        return ""

    def find(self, tag: str, user: str = "") -> list[Job]:
        del tag
        return []

    def states(self, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        return {job: self.answers.get(job, JobState(Phase.QUEUED)) for job in jobs}

    def cancel(self, jobs: Sequence[JobHandle]) -> None:
        del jobs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GridFolder:
    use_quick_runner(monkeypatch, tmp_path)
    return GridFolder(tmp_path / "study")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(registry, "get_scheduler", lambda *_, **__: made)
    return made


def rates_of(folder: GridFolder, number: int) -> list[float]:
    lines = read_jsonl(folder.batches / f"{number}.jsonl")
    return [spec["settings"]["lr"] for line in lines for spec in line["specs"]]


def states_of(folder: GridFolder) -> dict[float, RunState]:
    return {
        status.values["lr"]: status.state
        for status in read_states(folder, registry.states).values()
    }


# --- on this machine


@pytest.mark.slow
def test_the_rest_begins_when_the_canaries_have_passed(folder: GridFolder) -> None:
    assert submit_specs(folder, SPECS, CANARY, redo="none") == 0

    assert (rates_of(folder, 1), rates_of(folder, 2)) == ([0.1, 0.4], [0.2, 0.3, 0.5])
    assert set(states_of(folder).values()) == {RunState.DONE}


@pytest.mark.slow
def test_behind_a_canary_that_failed_nothing_begins(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUICK_FAIL", "0.4")

    assert submit_specs(folder, SPECS, CANARY, redo="none") == 1

    assert states_of(folder) == {0.1: RunState.DONE, 0.4: RunState.FAILED}
    said = capsys.readouterr().out
    assert (
        "study: a canary failed, so the other 3 runs did not begin; any submit takes them" in said
    )


@pytest.mark.slow
def test_a_model_whose_canary_has_passed_sends_no_other(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUICK_FAIL", "0.4")
    submit_specs(folder, SPECS, CANARY, redo="none")
    monkeypatch.delenv("QUICK_FAIL")

    assert submit_specs(folder, SPECS, CANARY, redo="failed") == 0

    assert [rates_of(folder, number) for number in (2, 3)] == [[0.4], [0.2, 0.3, 0.5]]


@pytest.mark.slow
def test_where_everything_is_done_that_is_said(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    submit_specs(folder, SPECS, CANARY, redo="none")
    capsys.readouterr()

    assert submit_specs(folder, SPECS, CANARY, redo="none") == 0

    assert "nothing to submit: 5 done" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_line_asks_for_canaries(
    folder: GridFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(
        "task: mnist\nfixed: {data: digits, epochs: 2}\ngrid: "
        "{lr: [0.1, 0.2]}\nwandb: {mode: disabled}\n"
    )

    assert call_submit("study.yaml", "--canary") == 0

    assert "note: 1 canary run first, the rest if they pass" in capsys.readouterr().out
    assert [rates_of(folder, number) for number in (1, 2)] == [[0.1], [0.2]]


# --- on a cluster


def test_on_a_cluster_the_rest_waits_there_for_the_jobs_of_all_canaries(
    folder: GridFolder, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    asks = {CNN[0].run_id: Resources(mem_mib=9000)}  # its canary goes out with a batch of its own

    assert submit_specs(folder, SPECS, CANARY, redo="none", asks=asks) == 0

    assert [batch.after for batch in cluster.batches] == [(), (), ("100", "200")]
    assert [batch.apart for batch in cluster.batches] == [True, True, False]
    intents = [line["after"] for line in journal_lines(folder) if line["event"] == "intent"]
    assert intents == [[], [], ["100", "200"]]
    said = capsys.readouterr().out
    assert "study: 1 of 1 runs are with slurm, the canaries" in said
    assert "study: 3 of 3 runs are with slurm, once the canaries have passed" in said


def test_runs_that_were_held_back_are_interrupted_and_taken_by_the_next_submit(
    folder: GridFolder, cluster: Cluster
) -> None:
    submit_specs(folder, SPECS, CANARY, redo="none")
    tags = {line["tag"] for line in journal_lines(folder) if line["event"] == "intent"}
    finish(folder, DENSE[0], next(iter(tags)))
    cluster.answers = {
        JobHandle("slurm", "101", 0): JobState(Phase.ENDED, Cause.EXIT, "exit code 70"),
        **{
            JobHandle("slurm", "200", index): JobState(
                Phase.ENDED, Cause.SKIPPED, "its canary did not pass"
            )
            for index in range(3)
        },
    }

    states = states_of(folder)
    submit_specs(folder, SPECS, CANARY, redo="none")

    assert [states[rate] for rate in (0.1, 0.2, 0.3, 0.5)] == [
        RunState.DONE,
        *[RunState.INTERRUPTED] * 3,
    ]
    assert states[0.4] is RunState.LOST
    endings = [line["cause"] for line in journal_lines(folder) if line["event"] == "ended"]
    assert sorted(endings) == [
        "EXIT",
        *["HELD_BACK"] * 3,
    ]  # on record before anything is submitted again
    # dense has passed; of the cnn runs there is one to be had, and it is the canary now
    assert [rates_of(folder, number) for number in (3, 4)] == [[0.5], [0.2, 0.3]]


def test_canaries_that_were_not_all_accepted_leave_the_rest_for_the_next_submit(
    folder: GridFolder, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.most = 1

    submit_specs(folder, SPECS, CANARY, redo="none")

    assert len(cluster.batches) == 1
    said = capsys.readouterr().out
    assert "1 of 2 runs are with slurm" in said
    assert "3 more runs of this grid wait for the next submit" in said
