"""What holds for every journal: any prefix and any torn line leave what was whole, and nothing is
invented.
"""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from anlp.records.folders import GridFolder
from jobs.config.resources import Resources
from jobs.runs.journal import ExitRecord, Journal, Submission
from jobs.schedulers.base import Batch, Cause, Job
from tests.support.properties import repeatable

TAGS = ("0123456789ab", "ba9876543210")
SIZE = 6

intents = st.tuples(st.just("intend"), st.sampled_from(TAGS), st.none())
answers = st.tuples(st.sampled_from(["answered", "cancel"]), st.sampled_from(TAGS), st.none())
refusals = st.tuples(st.just("refused"), st.sampled_from(TAGS), st.text(max_size=10))
accepted = st.tuples(
    st.just("accepted"),
    st.sampled_from(TAGS),
    st.builds(Job, st.sampled_from(["7", "8"]), st.integers(0, 3), st.integers(1, 3)),
)
endings = st.tuples(
    st.just("ended"),
    st.sampled_from(TAGS),
    st.dictionaries(
        st.integers(0, SIZE - 1),
        st.builds(ExitRecord, st.sampled_from(Cause), st.text(max_size=10), st.text(max_size=5)),
        max_size=3,
    ),
)
events = st.lists(st.one_of(intents, accepted, answers, refusals, endings), max_size=8)


def write(journal: Journal, event: tuple[str, str, object]) -> None:
    kind, tag, content = event
    if kind == "intend":
        batch = Batch(tag, "study", journal.folder.path / "batches" / "1.jsonl", SIZE)
        journal.intend(batch, "slurm", "none", Resources(cpus=2))
    elif kind == "accepted":
        assert isinstance(content, Job)
        journal.accepted(tag, content)
    elif kind == "refused":
        journal.refused(tag, str(content))
    elif kind == "ended":
        assert isinstance(content, dict)
        journal.all_ended(tag, content)
    elif kind == "cancel":
        journal.cancel({tag: [0, 1]})
    else:
        journal.answered(tag)


def fresh(folder: Path, number: int) -> Journal:
    journal = Journal(GridFolder(folder / str(number) / "study"))
    journal.folder.path.mkdir(parents=True)
    return journal


def told(journal: Journal) -> dict[str, tuple[object, ...]]:
    """What a journal says, without the times."""
    return {tag: _told(submission) for tag, submission in journal.submissions().items()}


def _told(one: Submission) -> tuple[object, ...]:
    return one.size, one.jobs, one.is_answered, one.refused, dict(one.endings), one.resources


@repeatable
@given(written=events, data=st.data())
def test_a_prefix_says_what_its_whole_lines_say(
    tmp_path: Path,
    written: list[tuple[str, str, object]],
    data: st.DataObject,
) -> None:
    number = len(list(tmp_path.iterdir()))
    whole, cut = fresh(tmp_path, number), fresh(tmp_path, number + 1)
    for event in written:
        write(whole, event)
    content = whole.folder.journal.read_bytes() if whole.folder.journal.exists() else b""
    at = data.draw(st.integers(0, len(content)), label="cut at")
    lines = fresh(tmp_path, number + 2)

    cut.folder.journal.write_bytes(content[:at])
    lines.folder.journal.write_bytes(b"".join(_whole_lines(content[:at], content)))

    assert told(cut) == told(lines)


def _whole_lines(prefix: bytes, content: bytes) -> list[bytes]:
    """The lines of a prefix that are complete, one that lacks only its line break included."""
    lines = prefix.splitlines(keepends=True)
    if (
        lines
        and not lines[-1].endswith(b"\n")
        and lines[-1] + b"\n" not in content.splitlines(keepends=True)
    ):
        lines.pop()
    return lines


@repeatable
@given(before=events, after=events, data=st.data())
def test_what_follows_a_torn_line_counts(
    tmp_path: Path,
    before: list[tuple[str, str, object]],
    after: list[tuple[str, str, object]],
    data: st.DataObject,
) -> None:
    """A writer died within its line; the next one begins a new line."""
    number = len(list(tmp_path.iterdir()))
    torn, clean = fresh(tmp_path, number), fresh(tmp_path, number + 1)
    for event in before:
        write(torn, event)
        write(clean, event)
    with torn.folder.journal.open("ab") as file:
        line = (
            b'{"time": 1.5, "event": "accepted", "tag": '
            b'"0123456789ab", "id": "9", "first": 0, "n": 1}'
        )
        file.write(line[: data.draw(st.integers(0, len(line) - 1), label="torn at")])
    for event in after:
        write(torn, event)
        write(clean, event)

    assert told(torn) == told(clean)
