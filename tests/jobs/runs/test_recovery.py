from __future__ import annotations

import json
import time
from typing import Any

import pytest

from anlp.core.errors import SchedulerError
from anlp.records.elements import Element
from anlp.records.files import write_jsonl
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions
from jobs.common.users import user_name
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
        self.asked: list[str] = []  # whose jobs

    def cluster(self) -> str:
        return "made"

    def find(self, tag: str, user: str) -> list[Job]:
        if self.is_down:
            raise SchedulerError("slurm: no answer", transient=True)
        self.asked.append(user)
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


def change_intent(folder: GridFolder, **fields: Any) -> None:
    """Writes the journal's only line anew, as another user or host would have written it."""
    line = json.loads(folder.journal.read_text())
    host = fields.pop("host", line["by"]["host"])
    line |= {**fields, "by": {**line["by"], "host": host}}
    folder.journal.write_text(
        json.dumps({key: value for key, value in line.items() if value is not None}) + "\n"
    )


def test_the_journal_says_who_submitted_and_where_and_that_user_is_asked_about(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(Job("7", 0, 5))
    monkeypatch.setattr(registry, "get_scheduler", lambda _: cluster)
    assert submission(folder, TAG).user == user_name()
    change_intent(folder, user="ada")

    reconcile(Journal(folder))

    assert cluster.asked == ["ada"]
    assert submission(folder, TAG).jobs == [Job("7", 0, 5)]


def test_of_an_old_journal_the_owner_of_the_batch_file_is_asked_about(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(Job("7", 0, 5))
    monkeypatch.setattr(registry, "get_scheduler", lambda _: cluster)
    change_intent(folder, user=None, cluster=None)

    reconcile(Journal(folder))

    assert cluster.asked == [user_name()]


def test_another_cluster_is_not_asked_what_this_one_took(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "get_scheduler", lambda _: Cluster())
    change_intent(folder, cluster="other", host="login9")

    with pytest.raises(SchedulerError, match=r"cluster other was lost, and this is made: .*login9"):
        reconcile(Journal(folder))

    assert has_unanswered(Journal(folder))


def test_while_a_call_on_another_host_may_be_at_work_nothing_is_decided(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(Job("7", 0, 3))
    monkeypatch.setattr(registry, "get_scheduler", lambda _: cluster)
    change_intent(folder, host="login9")

    with pytest.raises(SchedulerError, match="a submit on login9 was cut off") as raised:
        reconcile(Journal(folder))
    assert raised.value.transient
    assert submission(folder, TAG).jobs == [Job("7", 0, 3)]  # what is known is kept
    assert has_unanswered(Journal(folder))

    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 200)
    reconcile(Journal(folder))
    assert not has_unanswered(Journal(folder))
