"""Grid folders as submit, the launcher and the runs leave them, made without training anything."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anlp.core import lease
from anlp.core.spec import RunSpec
from anlp.records.elements import Element
from anlp.records.files import write_json, write_jsonl
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.options import RunOptions
from anlp.records.results import Outcome, RunError, RunResult
from anlp.tasks import make_spec
from jobs.config.resources import Resources
from jobs.runs.journal import ExitRecord, Journal, Submission, new_tag
from jobs.schedulers.base import Cause, Job
from jobs.submission.submitter import write_batch

GONE = lease.Process(
    lease.Process.this().host, lease.Process.this().boot, 1, 1
)  # process 1 began at another tick


def a_spec(seed: int = 0, **settings: Any) -> RunSpec:
    """A run of the embedded digits."""
    return make_spec("mnist", {"data": "digits", "epochs": 10, **settings}, seed)


def submit(
    folder: GridFolder,
    specs: Sequence[RunSpec],
    *,
    redo: str = "none",
    launcher: lease.Process | None = None,
    purpose: str = "search",
    answered: bool = True,
    per_element: int = 1,
    at_once: int = 1,
    slurm_job: str = "",
    resources: Resources | None = None,
) -> str:
    """A submission of `specs`; its launcher is this process, alive, unless another is given.
    Returns its tag.

    With a `slurm_job` it is an array of that id instead.
    """
    tag = new_tag()
    options = RunOptions(batch=tag, redo=redo, purpose=purpose)  # type: ignore[arg-type]  # literals, given as text
    starts = range(0, len(specs), per_element)
    groups = [tuple(specs[start : start + per_element]) for start in starts]
    elements = [Element(group, options, at_once=at_once) for group in groups]
    batch = write_batch(folder, elements, tag)
    journal = Journal(folder)
    journal.intend(batch, "slurm" if slurm_job else "local", redo, resources or Resources())
    if answered:
        native_id = slurm_job or (launcher or lease.Process.this()).to_id()
        journal.accepted(tag, Job(native_id, 0, batch.size))
        journal.answered(tag)
    return tag


def finish(folder: GridFolder, spec: RunSpec, tag: str, **metrics: float) -> RunFolder:
    """A run that ended well."""
    return write_result(
        folder, spec, tag, Outcome.OK, metrics={"val/acc": 0.5, "test/acc": 0.5, **metrics}
    )


def fail(folder: GridFolder, spec: RunSpec, tag: str, error: RunError) -> RunFolder:
    """A run that raised."""
    return write_result(folder, spec, tag, Outcome.FAILED, error=error)


def write_result(
    folder: GridFolder, spec: RunSpec, tag: str, outcome: Outcome, **content: Any
) -> RunFolder:
    """The result of a run, written by its attempt for the submission `tag`."""
    run = folder.run(spec.run_id)
    run.path.mkdir(parents=True, exist_ok=True)
    content = {"provenance": {"batch": tag}, **content}
    result = RunResult(spec.run_id, outcome, epochs=10, seconds=20.0, **content)
    write_json(run.result, result.to_json())
    return run


def an_error(
    kind: str = "ValueError", message: str = "bad shape", *, line: int = 88, epoch: int | None = 0
) -> RunError:
    """An exception that arose in `loop.py`, function `step`, below which lies a library."""
    traceback = (
        "Traceback (most recent call last):\n"
        f'  File "/home/ann/anlp/training/loop.py", line {line}, in step\n'
        "    loss.backward()\n"
        '  File "/opt/lib/python3.11/site-packages/torch/_tensor.py", line 5, in backward\n'
        "    engine()\n"
        f"{kind}: {message}\n"
    )
    return RunError(kind, message, traceback, epoch)


def lose(folder: GridFolder, tag: str, index: int, cause: Cause, detail: str = "") -> None:
    """The launcher's account of an element that ended without a result."""
    Journal(folder).ended(tag, index, ExitRecord(cause, detail))


def start(folder: GridFolder, spec: RunSpec) -> lease.Lease:
    """The run's claim, held by this process."""
    return lease.acquire(folder.run(spec.run_id).attempts)


def log_epochs(folder: GridFolder, spec: RunSpec, values: Sequence[float]) -> None:
    """One line of metrics per epoch, with these values of val/acc."""
    run = folder.run(spec.run_id)
    run.path.mkdir(parents=True, exist_ok=True)
    write_jsonl(
        run.metrics, [{"epoch": epoch, "val/acc": value} for epoch, value in enumerate(values)]
    )


def submission(folder: GridFolder, tag: str) -> Submission:
    """What the journal says about `tag`."""
    return Journal(folder).submissions()[tag]


def journal_lines(folder: GridFolder) -> list[Mapping[str, Any]]:
    """The journal, line by line."""
    return [json.loads(line) for line in folder.journal.read_text().splitlines() if line]


def hold_lock_elsewhere(folder: GridFolder) -> subprocess.Popen[str]:
    """Another process that has the grid's lock until it is killed."""
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from anlp.records.folders import GridFolder\nfrom jobs.runs.journal import Journal\n"
        "with Journal(GridFolder(Path(sys.argv[1]))).locked():\n   "
        " print('held', flush=True)\n    time.sleep(60)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(folder.path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def wait_until(path: Path, text: str, timeout_s: float = 120.0) -> str:
    """The content of a file once `text` is in it."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        content = path.read_text() if path.exists() else ""
        if text in content:
            return content
        time.sleep(0.02)
    raise AssertionError(f"{path} never said {text!r}, but {content!r}")
