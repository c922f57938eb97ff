"""Several runs to a job: which may share one, what it asks for, and what commands make of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anlp.core.errors import EXIT_CONTINUE, EXITS_OF_RUNS, UserError
from anlp.core.pool_messages import Stop
from anlp.records.crash import CrashRecord, record_crash
from anlp.records.elements import Element
from anlp.records.files import read_jsonl
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions
from anlp.records.results import RunState
from anlp.tasks import element_from_json
from jobs import cancel, explain
from jobs.config.packing import Packing
from jobs.config.resources import Resources
from jobs.gridfile import load_grid
from jobs.runs.attempts import find_auto_retries, record_endings
from jobs.runs.journal import Journal
from jobs.runs.options import SubmitOptions
from jobs.runs.status import classify, read_states
from jobs.schedulers import registry
from jobs.schedulers.base import EXITS, Batch, Cause, Job, JobHandle, JobState, Phase, state_of_exit
from jobs.schedulers.local.slots import Machine, plan_slots
from jobs.schedulers.local.supervisor import SAID_BY_THE_RUN
from jobs.submission.arguments import add_submit_arguments, override, read_overrides
from jobs.submission.batching import make_elements
from jobs.submission.launch import submit_specs
from jobs.views import plan as plan_view
from tests.support.grids import a_spec, an_error, fail, finish, journal_lines, submit
from tests.support.quick_runner import use_quick_runner

SPECS = [a_spec(seed) for seed in range(10)]


class Cluster:
    """A scheduler that takes everything; what it was handed is kept."""

    name = "slurm"
    notes = ()

    def __init__(self) -> None:
        self.taken: list[tuple[Batch, Resources]] = []

    def submit(
        self, batch: Batch, resources: Resources, accepted: Callable[[Job], None]
    ) -> list[JobHandle]:
        self.taken.append((batch, resources))
        accepted(Job(str(500 + len(self.taken)), 0, batch.size))
        return []

    def cluster(self) -> str:
        return ""

    def states(self, jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
        return dict.fromkeys(jobs, JobState(Phase.RUNNING))

    def elements(self, number: int) -> list[Element]:
        return [element_from_json(form) for form in read_jsonl(self.taken[number][0].path)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GridFolder:
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path))
    return GridFolder(tmp_path / "demo")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(registry, "get_scheduler", lambda *_, **__: cluster)
    return cluster


def on_cluster(pack: int = 1, chain: int = 1, **resources: Any) -> SubmitOptions:
    return SubmitOptions(on="slurm", packing=Packing(pack, chain), resources=Resources(**resources))


def test_a_job_asks_for_what_its_runs_need_together() -> None:
    each = Resources(gpus=1, cpus=2, mem_mib=1000, walltime_min=30, queue="gpu")

    asked = Packing(pack=4, chain=10).ask(each)

    assert asked == Resources(gpus=1, cpus=8, mem_mib=4000, walltime_min=300, queue="gpu")


@pytest.mark.parametrize(
    ("runs", "fitting"),
    [(40, (4, 10)), (100, (4, 10)), (9, (4, 3)), (4, (4, 1)), (3, (3, 1)), (1, (1, 1))],
)
def test_few_runs_ask_for_no_more_than_they_use(runs: int, fitting: tuple[int, int]) -> None:
    assert Packing(pack=4, chain=10).fit(runs) == Packing(*fitting)


def test_jobs_are_filled_in_the_order_of_the_runs() -> None:
    elements = make_elements(SPECS, {}, RunOptions(), "none", Packing(pack=2, chain=2), 100)

    assert [element.specs for element in elements] == [
        tuple(SPECS[:4]),
        tuple(SPECS[4:8]),
        tuple(SPECS[8:]),
    ]
    assert {(element.at_once, element.mem_limit_mib) for element in elements} == {(2, 100)}


def test_an_element_reads_back_as_it_was() -> None:
    elements = [Element(tuple(SPECS[:3]), RunOptions(), 2, 100), Element((SPECS[0],), RunOptions())]

    assert [element_from_json(element.to_json()) for element in elements] == elements


def test_submit_hands_over_few_jobs_with_many_runs(
    folder: GridFolder, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    submit_specs(
        folder, SPECS, on_cluster(2, 3, gpus=1, mem_mib=1000, walltime_min=10), redo="none"
    )

    ((batch, asked),) = cluster.taken
    assert batch.size == 2
    assert (asked.gpus, asked.cpus, asked.mem_mib, asked.walltime_min) == (1, 2, 2000, 30)
    assert {element.mem_limit_mib for element in cluster.elements(0)} == {1000}
    assert "2 of 2 jobs with 10 runs are with slurm" in capsys.readouterr().out


def test_runs_with_unlike_resources_are_not_packed_together(
    folder: GridFolder, cluster: Cluster
) -> None:
    asks = {spec.run_id: Resources(mem_mib=3000) for spec in SPECS[::2]}

    submit_specs(folder, SPECS, on_cluster(5, mem_mib=1000), redo="none", asks=asks)

    assert sorted(asked.mem_mib or 0 for _, asked in cluster.taken) == [5000, 15000]
    together = [
        {spec.seed % 2 for spec in element.specs}
        for number in (0, 1)
        for element in cluster.elements(number)
    ]
    assert sorted(map(tuple, together)) == [(0,), (1,)]


def test_runs_with_unlike_options_are_not_packed_together(
    folder: GridFolder, cluster: Cluster
) -> None:
    tag = submit(folder, SPECS[:2], purpose="confirm")
    fail(folder, SPECS[0], tag, an_error())
    fail(folder, SPECS[1], tag, an_error())

    submit_specs(folder, SPECS[:4], on_cluster(4), redo="failed")

    assert [[spec.seed for spec in element.specs] for element in cluster.elements(0)] == [
        [0, 1],
        [2, 3],
    ]
    assert [element.options.purpose for element in cluster.elements(0)] == ["confirm", "search"]


def test_the_grid_says_how_many_and_the_command_line_overrides_it(tmp_path: Path) -> None:
    path = tmp_path / "lr.yaml"
    path.write_text("task: mnist\ngrid: {lr: [0.1, 0.2]}\npack: 4\nchain: 10\n")
    grid = load_grid(path)
    parser = argparse.ArgumentParser()
    add_submit_arguments(parser)
    given = SubmitOptions(packing=Packing(grid.pack, grid.chain))

    assert override(given, read_overrides(parser.parse_args([]))).packing == Packing(4, 10)
    assert override(given, read_overrides(parser.parse_args(["--pack", "2"]))).packing == Packing(
        2, 10
    )


# --- on this machine


def test_here_so_many_runs_share_each_gpu() -> None:
    plan = plan_slots(Resources(gpus=1), Machine(8, 64_000, ("GPU-a", "GPU-b")), most=100, pack=3)

    assert (plan.slots, plan.devices, plan.notes) == (6, ("GPU-a", "GPU-b"), ())


def test_here_without_a_gpu_it_changes_nothing_and_says_so() -> None:
    plan = plan_slots(Resources(), Machine(4, 64_000), most=100, pack=3)

    assert (plan.slots, plan.notes) == (
        4,
        ("pack: changes nothing without a GPU: there is a run for every core anyway",),
    )


def test_what_a_plan_says_of_shared_jobs() -> None:
    on_slurm = SubmitOptions(on="slurm")
    at_most_five = replace(on_slurm, max_parallel=5)

    assert plan_view.describe(at_most_five, Packing(4, 10)) == (
        20,
        "to slurm in jobs of 40, 4 at a time, at most 5 jobs at a time",
    )
    assert plan_view.describe(at_most_five, Packing()) == (5, "to slurm, at most 5 at a time")
    assert plan_view.describe(on_slurm, Packing()) == (None, "to slurm")


# --- afterwards


def running(jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
    return dict.fromkeys(jobs, JobState(Phase.RUNNING, node="n1"))


def timed_out(jobs: Sequence[JobHandle]) -> Mapping[JobHandle, JobState]:
    return dict.fromkeys(jobs, JobState(Phase.ENDED, Cause.TIMEOUT, "limit 10 min", "n1"))


@pytest.fixture
def with_loss(folder: GridFolder) -> GridFolder:
    """Three runs in one job, the first done, the second dead."""
    tag = submit(folder, SPECS[:3], per_element=3, at_once=3, slurm_job="17")
    finish(folder, SPECS[0], tag)
    record_crash(
        folder.run(SPECS[1].run_id),
        None,
        CrashRecord("killed by a signal", "signal 11"),
        job="17_0",
        batch=tag,
    )
    return folder


def test_a_run_that_died_among_others_is_lost_while_they_go_on(with_loss: GridFolder) -> None:
    found = list(read_states(with_loss, running).values())

    assert [status.state for status in found] == [RunState.DONE, RunState.LOST, RunState.RUNNING]
    assert (found[1].cause, found[1].detail, found[1].node) == (Cause.SIGNAL, "signal 11", "n1")


def test_a_run_that_died_among_others_keeps_its_own_cause_when_their_job_ends(
    with_loss: GridFolder,
) -> None:
    found = list(read_states(with_loss, timed_out).values())

    assert [status.cause for status in found] == [None, Cause.SIGNAL, Cause.TIMEOUT]


@pytest.mark.parametrize("code", [2, 6, 7, 70, 72, 127, 255])
def test_an_exit_code_means_the_same_in_a_pack_as_outside(folder: GridFolder, code: int) -> None:
    tag = submit(folder, SPECS[:1], slurm_job="17")
    crash = CrashRecord("exit code", f"exit code {code}: its traceback is in its log")
    record_crash(folder.run(SPECS[0].run_id), None, crash, job="17_0", batch=tag)
    in_pack = read_states(folder, running)[SPECS[0].run_id]
    apart = classify(state_of_exit(code), None)

    assert (in_pack.state, in_pack.cause) == (apart.state, apart.cause)


def test_every_exit_code_of_a_run_has_a_meaning_of_its_own() -> None:
    assert set(EXITS_OF_RUNS) <= set(EXITS)
    assert EXIT_CONTINUE not in SAID_BY_THE_RUN
    assert SAID_BY_THE_RUN | {EXIT_CONTINUE} == set(EXITS_OF_RUNS)


def test_how_a_run_died_is_not_put_on_record_as_the_end_of_its_job(with_loss: GridFolder) -> None:
    journal = Journal(with_loss)

    record_endings(journal, read_states(with_loss, running).values())
    while_running = [
        line
        for line in journal_lines(with_loss)
        if line["event"] not in ("intent", "accepted", "answered")
    ]
    record_endings(journal, read_states(with_loss, timed_out).values())

    (submission,) = journal.submissions().values()
    assert while_running == []
    assert {index: ending.cause for index, ending in submission.endings.items()} == {
        0: Cause.TIMEOUT
    }


def test_deaths_among_others_count_against_the_repeats_of_a_run(with_loss: GridFolder) -> None:
    run = with_loss.run(SPECS[1].run_id)
    for job in ("18", "19"):
        tag = submit(with_loss, SPECS[1:3], per_element=2, slurm_job=job)
        record_crash(
            run, None, CrashRecord("killed by a signal", "signal 9"), job=f"{job}_0", batch=tag
        )

    due = [
        find_auto_retries(Journal(with_loss), read_states(with_loss, running), retries)
        for retries in (1, 2, 3)
    ]

    # the first death was by signal 11: no fault of the machine's
    assert due == [frozenset(), {SPECS[1].run_id}, {SPECS[1].run_id}]


def test_the_next_submission_takes_a_dead_run_anew(with_loss: GridFolder) -> None:
    submit(with_loss, [SPECS[1]], slurm_job="18")

    assert read_states(with_loss, running)[SPECS[1].run_id].state is RunState.RUNNING


def test_every_word_of_a_pack_about_a_death_is_a_cause_that_jobs_know() -> None:
    said = {
        "never started",
        "exit code",
        "out of memory",
        "killed by a signal",
        Stop.OUT_OF_MEMORY.value,
    }

    assert said <= {cause.value for cause in Cause}


@pytest.mark.slow
def test_chains_have_nothing_to_save_on_this_machine_and_it_says_so(
    folder: GridFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_quick_runner(monkeypatch, folder.path.parent)

    code = submit_specs(
        folder, SPECS[:2], SubmitOptions(on="local", quiet=True, packing=Packing(1, 5)), redo="none"
    )

    assert (code, len(list(read_jsonl(folder.batches / "1.jsonl")))) == (0, 2)
    assert "chain: changes nothing on this machine" in capsys.readouterr().out


def test_explain_says_how_many_runs_share_a_job(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(folder, SPECS[:3], per_element=3)

    explain.main(["demo", SPECS[1].run_id])

    assert "element 0, a job of 3 runs" in capsys.readouterr().out


def test_cancelling_one_of_several_asks_about_those_that_share_its_job(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(folder, SPECS[:4], per_element=2)
    before = journal_lines(folder)

    with pytest.raises(UserError, match=r"Stop 1 queued run as well, in the same jobs\? .*--yes"):
        cancel.main(["demo", "--only", f"id={SPECS[0].run_id}"])
    assert journal_lines(folder) == before

    cancel.main(["demo", "--only", f"id={SPECS[0].run_id}", "--yes"])
    assert "asked 2 queued runs to stop (1 share a job with them)" in capsys.readouterr().out
