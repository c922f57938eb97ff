from __future__ import annotations

import pytest

from anlp.core.errors import SchedulerError
from anlp.records.elements import Element
from anlp.records.files import write_jsonl
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions
from jobs.config.resources import Resources
from jobs.runs.batches import asked_runs
from jobs.runs.journal import Journal
from jobs.runs.recovery import has_unanswered, reconcile
from jobs.schedulers import registry
from jobs.schedulers.base import Batch, Job
from tests.support.grids import a_spec, submission

TAG = "0123456789ab"


class Cluster:
    """A scheduler that remembers what it took, even where it answered otherwise."""

    def __init__(self, *jobs: Job, is_down: bool = False) -> None:
        self.jobs, self.is_down = jobs, is_down

    def find(self, tag: str) -> list[Job]:
        if self.is_down:
            raise SchedulerError("slurm: no answer", transient=True)
        return list(self.jobs) if tag == TAG else []


@pytest.fixture
def folder(tmp_path: object) -> GridFolder:
    folder = GridFolder(tmp_path)  # type: ignore[arg-type] # the fixture's path
    folder.batches.mkdir()
    options = RunOptions(batch=TAG)
    path = folder.batches / "1.jsonl"
    write_jsonl(path, [Element((a_spec(seed),), options).to_json() for seed in range(5)])
    Journal(folder).intend(Batch(TAG, "study", path, 5), "slurm", "none", Resources())
    return folder


def test_jobs_that_were_taken_without_a_word_are_adopted(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "get_scheduler", lambda _: Cluster(Job("7", 0, 3)))
    assert has_unanswered(Journal(folder))

    reconcile(Journal(folder))

    found = submission(folder, TAG)
    assert (found.jobs, found.is_answered) == ([Job("7", 0, 3)], True)
    assert len(asked_runs(folder, Journal(folder).submissions())) == 3  # the other two are new
    assert not has_unanswered(Journal(folder))


def test_what_was_journaled_before_the_answer_was_lost_is_not_adopted_twice(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Journal(folder).accepted(TAG, Job("7", 0, 3))
    monkeypatch.setattr(
        registry, "get_scheduler", lambda _: Cluster(Job("7", 0, 3), Job("8", 3, 2))
    )

    reconcile(Journal(folder))

    assert submission(folder, TAG).jobs == [Job("7", 0, 3), Job("8", 3, 2)]


def test_while_the_scheduler_is_down_nothing_is_decided(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "get_scheduler", lambda _: Cluster(is_down=True))

    with pytest.raises(SchedulerError, match="no answer"):
        reconcile(Journal(folder))

    assert has_unanswered(Journal(folder))
    assert len(asked_runs(folder, Journal(folder).submissions())) == 5
