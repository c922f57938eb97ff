"""Read runs from a wandb project by its public API; histories in parallel."""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from analysis.data.program_runs import JUDGED, result_of_program, rows_of_program
from analysis.data.retry import Retries, in_threads
from analysis.data.run_folders import describe_error, make_record, whole_seed
from analysis.data.source import (
    NO_FIT,
    UNSETTLED,
    Reading,
    fitting_spec,
    known_settings,
    one_of_each_step,
    told,
)
from anlp.console.progress import Progress
from anlp.core.errors import UserError
from anlp.core.spec import RunSpec
from anlp.core.wandb_server import find_site
from anlp.records.program import metrics_of_config
from anlp.records.results import Outcome, RunResult, result_from_summary
from anlp.tasks import TASKS, make_spec
from anlp.tasks.user_code import is_program, is_user_code

if TYPE_CHECKING:
    from wandb.apis.public import Run

SCHEME = "wandb://"
PAGE = 500  # runs
THREADS = 16
STEPS_PER_PAGE = 10_000
# states in which a run logs no more
ENDED = frozenset({"finished", "failed", "crashed", "killed", "preempted"})
OUTCOMES = frozenset(outcome.value for outcome in Outcome)
# in the texts of exceptions, where they have no status of their own
_STATUS = re.compile(r"(?:returned error|HTTP) (\d{3})\b")
_NO_ANSWER = re.compile(
    r"dial tcp|connection re|time(?:d )?out|deadline exceeded|EOF", re.IGNORECASE
)
_OF_PROGRAM = "anlp"  # the settings of a program's run, which logs to wandb itself
STEP = "_step"
COPY = "left out, a copy of a run that is here under another id: the same settings and seed"
OTHER_ID = (
    "its id is not that of its settings and seed: it was copied, or its seed was changed by hand; "
    "it counts as one run"
)
REPEATED = "some steps were logged more than once, the later row of each counts"
_NO_SETTINGS = frozenset({"task", "seed", "config_id"})  # of a run's config


@dataclass(frozen=True, slots=True)
class Project:
    """A project on a wandb server, or one group of its runs."""

    entity: str
    name: str
    group: str = ""

    @property
    def folder(self) -> Path:
        """Return the folder below `runs/` for what was read; its name is that of the grid."""
        parts = (self.entity, self.name, self.group) if self.group else (self.entity, self.name)
        return Path(".wandb", *map(_folder_name, parts))


def _folder_name(text: str) -> str:
    name = quote(text, safe=" ")
    # "." and ".." are names of other folders
    return name if name.strip(".") else name.replace(".", "%2E")


def parse_project(text: str) -> Project:
    """Read an address `wandb://entity/project[/group]`.

    Raises:
        UserError: it is no such address.
    """
    entity, _, rest = text.removeprefix(SCHEME).partition("/")
    name, _, group = rest.partition("/")
    if not text.startswith(SCHEME) or not entity or not name:
        raise UserError(
            f"expected wandb://entity/project or wandb://entity/project/group, got {text!r}"
        )
    return Project(entity, name, group.strip("/"))


class ProjectSource:
    """The runs of a project as they are when they are first asked for.

    A run that has ended is up to date as long as its state, last step and last change are equal.

    Args:
        project: which.
        history: whether to read what was logged, which is most of the requests.
        retries: how failed requests are repeated, on top of what wandb does itself.
    """

    def __init__(
        self, project: Project, *, history: bool = True, retries: Retries | None = None
    ) -> None:
        self._project = project
        self._history = history
        self._retries = retries or Retries(is_transient)
        self._found: dict[str, Run] | None = None
        self._copies: list[str] = []  # runs that are left out
        self._url = ""

    def run_ids(self) -> list[str]:
        """Return every run of the project or group.

        Raises:
            UserError: no key, no answer, no such project.
        """
        return sorted(self._runs())

    def notes(self) -> list[str]:
        """Return the sentence on runs that are there under several ids."""
        return told((name, COPY) for name in self._copies)

    def is_current(self, run_id: str, stamp: str) -> bool:
        """Compare the stamp with what the list of runs says of the run."""
        return stamp != UNSETTLED and stamp == _stamp(self._runs()[run_id])

    def read(self, run_ids: Sequence[str]) -> Iterator[Reading]:
        """Yield the runs as their histories arrive.

        Raises:
            UserError: the server does not answer any more; runs before that are complete.
        """
        try:
            yield from in_threads(lambda run_id: self._read(self._runs()[run_id]), run_ids, THREADS)
        except UserError:
            raise
        except Exception as error:
            if not is_transient(error):
                raise
            raise UserError(
                f"{self._url} does not answer any more ({describe_error(error)}); what was read is "
                "kept, repeat the command"
            ) from error

    def _runs(self) -> dict[str, Run]:
        if self._found is None:
            listed = self._list()
            self._copies = _copies(listed)
            self._found = {name: listed[name] for name in listed.keys() - set(self._copies)}
        return self._found

    def _list(self) -> dict[str, Run]:
        import wandb

        site = find_site(str(wandb.Settings().base_url))
        site.require()
        self._url = site.url
        path = f"{self._project.entity}/{self._project.name}"
        try:
            with _scratch():
                found = self._list_pages(path)
        except ValueError as error:
            raise UserError(
                f"{site.url}: no project {path!r} that this key may read ({error})"
            ) from error
        except wandb.errors.AuthenticationError as error:
            raise UserError(
                f"{site.url} refuses the key in WANDB_API_KEY or netrc ({describe_error(error)})"
            ) from error
        except Exception as error:
            if status_of(error) is None:
                raise
            raise UserError(
                f"{site.url}: the runs of {path} cannot be listed ({describe_error(error)})"
            ) from error
        if not found:
            of_group = f" of a group {self._project.group!r}" if self._project.group else ""
            raise UserError(f"{site.url}: {path} has no run{of_group}")
        return found

    def _list_pages(self, path: str) -> dict[str, Run]:
        import wandb

        filters = {"group": self._project.group} if self._project.group else {}
        api = wandb.Api(overrides={"entity": self._project.entity, "project": self._project.name})
        pages = api.runs(path, filters=filters, per_page=PAGE, lazy=False)
        with Progress("listing runs", 0) as progress:
            return self._retries.call(lambda: {run.id: run for run in progress.over(pages)})

    def _read(self, run: Run) -> Reading:
        stamp = _stamp(run)
        try:
            spec, notes = _identify(run)
        except ValueError as error:  # pydantic's ValidationError is one
            reason = f"skipped, {describe_error(error)}"
            return Reading(
                run.id, note=reason if _is_of_absent_task(run) else f"{run.id}: {reason}"
            )
        if spec is None:
            return Reading(run.id, note=NO_FIT)
        result, note = _result(run)
        notes.append(note)
        of_program = is_program(spec.task)
        is_open = of_program and result is None and run.state in JUDGED
        try:
            reads = self._history or is_open
            rows = self._retries.call(lambda: _lines(run)) if reads else []
        except Exception as error:
            if is_transient(error) or status_of(error) is None:
                raise
            return Reading(
                run.id,
                note=f"{run.id}: skipped, its history cannot be read ({describe_error(error)})",
            )
        single = one_of_each_step(rows, STEP)
        notes += [REPEATED] if len(single) < len(rows) else []
        lines = tuple(rows_of_program(single) if of_program else map(_line, single))
        if is_open:
            result = result_of_program(run, spec, lines, metrics_of_config(_config(run)))
        shown = tuple(map(_without_nan, lines)) if self._history else ()
        record = make_record(run.id, spec, run.job_type or "search", result, shown)
        return Reading(run.id, record, stamp, "\n".join(filter(None, notes)))


def _is_of_absent_task(run: Run) -> bool:
    task = run.config.get("task")
    return isinstance(task, str) and task not in TASKS


def _config(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.config.items() if not name.startswith("_")}


def _copies(runs: Mapping[str, Run]) -> list[str]:
    """Return runs of the same settings and seed as another, which counts alone.

    That is the one whose id is that of its settings; else the first by its id, of those that ended.
    """
    equal: dict[str, list[str]] = defaultdict(list)
    for name in sorted(runs):
        with suppress(ValueError):  # reported where the run is read
            spec, _ = _identify(runs[name])
            if spec is not None:
                equal[spec.run_id].append(name)
    copies: list[str] = []
    for run_id, names in equal.items():
        ended = [name for name in names if runs[name].state in ENDED]
        kept = run_id if run_id in names else (ended or names)[0]
        copies += [name for name in names if name != kept]
    return copies


def _identify(run: Run) -> tuple[RunSpec | None, list[str]]:
    """Return the run of this suite that a run of the server is, and notes on its config.

    It is None where the settings do not fit the id that was written with them.

    Raises:
        ValueError: it is no known run; the message says what is wrong with it.
    """
    config = _config(run)
    spec, note = _spec(config)
    if run.id == spec.run_id:
        return spec, [note]
    config_id = config.get("config_id")
    if not isinstance(config_id, str):
        return None, []
    fitting = fitting_spec(spec, config_id)
    # the user's own programs may choose the ids of their runs
    has_other_id = fitting is not None and not is_user_code(spec.task)
    return fitting, [note, OTHER_ID if has_other_id else ""]


def _spec(config: Mapping[str, Any]) -> tuple[RunSpec, str]:
    """Return the run of a config, and a note on what in it is no setting.

    Raises:
        ValueError: it is that of no known run; the message says what is wrong with it.
    """
    task, seed = config.get("task"), config.get("seed")
    if task is None:
        raise ValueError("its config names no task: no run of this suite, or changed by hand")
    if not isinstance(task, str) or task not in TASKS:
        raise ValueError(f"its config names a task that is not known here: {task!r}")
    values = {name: value for name, value in config.items() if name not in _NO_SETTINGS}
    if isinstance(config.get(_OF_PROGRAM), Mapping):  # beside what the program says of itself
        values = dict(config[_OF_PROGRAM])
    known, note = known_settings(task, values)
    return make_spec(task, known, whole_seed(seed)), note


def is_transient(error: Exception) -> bool:
    """Return whether a request may succeed later: too many requests, a server fault, no answer."""
    status = status_of(error)
    return status is not None and (status == 0 or status == 429 or status >= 500)


def status_of(error: Exception) -> int | None:
    """Return the HTTP status behind an exception of wandb.

    0 where the server did not answer, None for other exceptions.
    """
    from wandb.errors import CommError
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    if not isinstance(error, CommError | WandbApiFailedError):
        return None
    answer = getattr(getattr(error, "exc", None) or error, "response", None)
    status = getattr(answer, "http_status", 0) or _STATUS.search(str(error))
    if isinstance(status, re.Match):
        return int(status.group(1))
    if status:
        return int(status)
    # 200: an answer that names a fault
    return 0 if answer is None or _NO_ANSWER.search(str(error)) else 200


@contextmanager
def _scratch() -> Iterator[None]:
    """Make the folders that wandb creates for each listed run temporary ones."""
    before = os.environ.get("WANDB_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WANDB_DIR"] = folder
        try:
            yield
        finally:
            os.environ.pop("WANDB_DIR")
            os.environ.update({} if before is None else {"WANDB_DIR": before})


def _result(run: Run) -> tuple[RunResult | None, str]:
    """Return what the run said of its end; None while it is under way or repeated."""
    summary = run.summary_metrics
    outcome = summary.get("outcome")
    if run.state not in ENDED or outcome not in OUTCOMES:
        return None, ""
    result = result_from_summary(summary)
    if result is not None and result.outcome.value == outcome:
        return result, ""
    metrics = {
        name: float(value)
        for name, value in summary.items()
        if "/" in name and isinstance(value, float | int)
    }
    note = (
        f"{run.id}: its result was not sent (an older version did not), the metrics are those of "
        "its last row"
    )
    return RunResult(run.id, Outcome(outcome), metrics), note


def _lines(run: Run) -> list[Mapping[str, Any]]:
    return list(run.scan_history(page_size=STEPS_PER_PAGE, use_cache=False))


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as in `metrics.jsonl`: the step is the epoch, null is what is not finite."""
    values = {name: value for name, value in row.items() if not name.startswith("_")}
    return _without_nan({"epoch": row[STEP], **values})


def _without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _finite(value) for name, value in row.items()}


def _finite(value: Any) -> Any:
    """Return None for NaN and infinity, which wandb writes as text."""
    if isinstance(value, str) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def _stamp(run: Run) -> str:
    """Return the stamp of a run, empty for one that may still change."""
    if run.state not in ENDED:
        return UNSETTLED
    summary = run.summary_metrics
    changes = (
        run.state,
        run.heartbeat_at,
        *(summary.get(name) for name in ("_step", "_timestamp", "outcome")),
    )
    return " ".join(map(str, changes))
