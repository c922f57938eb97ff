"""The user's own code of a grid: a program or a function, and how its settings reach it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from anlp.core.checked import make
from anlp.core.metrics import declare_goal, declare_report
from anlp.core.spec import Scalar, canonical_json
from anlp.records.files import read_json
from anlp.records.folders import GridFolder

DIGEST_LENGTH = 12
METRICS_IN_WANDB = "anlp_metrics"  # the name in wandb's config of a program's run
_WORDS = ("command", "container", "container_prefixes")  # fields that are lists
Goal = Literal["", "minimize", "maximize"]


@dataclass(frozen=True, slots=True)
class ProgramMetrics:
    """Which of the metrics that a program logs matter; empty: by the rules of `anlp.core.metrics`.

    Names are those of the suite (`anlp.core.metrics.metric_name`), such as `val/acc` for `val_acc`.
    """

    select: str = ""
    report: str = ""
    goal: Goal = ""
    chance: float | None = None  # of `report`, where nothing was learned
    samples: int | None = None  # of the validation set

    def to_json(self) -> dict[str, Any]:
        """Return the form in records of programs, and in wandb's config."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def baselines(self) -> dict[str, float]:
        """Return the chance level, as results have it."""
        return {} if self.chance is None else {"random": self.chance}

    @property
    def sizes(self) -> dict[str, int]:
        """Return the size of the validation set, as results have it."""
        return {} if self.samples is None else {"val": self.samples}


@dataclass(frozen=True, slots=True)
class Program:
    """`programs/<digest>.json` of a grid: what its runs start, written once for all of them."""

    name: str  # relative to the project, or a command on PATH; part of every run's id
    project: str  # its folder
    beside: str = ""  # the folder of the grid file: paths in its kept copy are relative to it
    path: str = ""  # of the file, relative to the project; empty for a command on PATH
    function: str = ""  # of the file; empty for a program
    is_task: bool = False  # whether that is a settings class with a builder, a whole task
    command: tuple[str, ...] = ()  # template with macros; empty for a function
    interpreter: str = ""  # of Python, its path
    workdir: str = "project"  # project, code, run, or an absolute path
    code: str = ""  # the copy of the project, relative to the grid's folder; empty: none
    snapshot: str = "none"  # how it was copied: git, files, none
    limit_mib: int = 50  # of the copy
    flags: Mapping[str, str] = field(default_factory=dict)  # by setting, "" for a positional one
    styles: Mapping[str, str] = field(default_factory=dict)  # of what is no `--name value`
    truths: Mapping[str, Sequence[str]] = field(default_factory=dict)  # the words for true, false
    defaults: Mapping[str, Scalar] = field(default_factory=dict)  # these values are not passed
    seed_flag: str = ""  # that passes the seed; empty: none does
    gpus: int = 0
    container: tuple[str, ...] = ()  # that start it in an image, whose path is last; empty: none
    container_prefixes: tuple[str, ...] = ()  # of the variables that pass into the image
    metrics: ProgramMetrics = field(default_factory=ProgramMetrics)
    resume_code: int | None = None  # the exit code that says: start me again to continue
    sha256: str = ""  # of the file when it was submitted
    commit: str = ""  # of the project

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        form = {name: getattr(self, name) for name in self.__slots__}
        mappings = {name: dict(form[name]) for name in ("flags", "styles", "defaults")}
        truths = {name: list(words) for name, words in self.truths.items()}
        words = {name: list(form[name]) for name in _WORDS}
        return {**form, **mappings, **words, "truths": truths, "metrics": self.metrics.to_json()}

    @property
    def provenance(self) -> dict[str, str]:
        """Return what a result says of the code that it comes from."""
        return {name: getattr(self, name) for name in ("name", "sha256", "commit", "code")}

    @property
    def digest(self) -> str:
        """Return the name of its file, which follows from its content."""
        text = canonical_json(self.to_json())
        return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def program_from_json(form: Mapping[str, Any]) -> Program:
    """Inverse of `Program.to_json`; names that this version does not know are ignored.

    Raises:
        KeyError, TypeError, ValueError: not the form of a program.
    """
    known = {name: value for name, value in form.items() if name in Program.__slots__}
    metrics = {
        name: text
        for name, text in form.get("metrics", {}).items()
        if name in ProgramMetrics.__slots__
    }
    words = {name: tuple(form.get(name, ())) for name in _WORDS}
    return Program(**{**known, **words, "metrics": ProgramMetrics(**metrics)})


def read_program(grid: GridFolder, digest: str) -> Program | None:
    """Read the program of a submission; None where its file is missing or damaged."""
    form = read_json(grid.programs / f"{digest}.json")
    try:
        return None if form is None else program_from_json(form)
    except (KeyError, TypeError, ValueError):
        return None


def read_programs(grid: GridFolder) -> list[Program]:
    """Read every program that a grid was submitted with, the latest last."""
    found = []
    try:
        paths = sorted(grid.programs.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    except OSError:
        return []
    for path in paths:
        program = read_program(grid, path.stem)
        if program is not None:
            found.append(program)
    return found


def metrics_of_config(config: Mapping[str, Any]) -> ProgramMetrics:
    """Return which metrics matter, as wandb's config of a program's run says it."""
    form = config.get(METRICS_IN_WANDB)
    told = {} if not isinstance(form, Mapping) else form
    known = {name: told[name] for name in ProgramMetrics.__slots__ if told.get(name) is not None}
    try:
        return make(ProgramMetrics, known)
    except ValueError:  # changed by hand
        return ProgramMetrics()


def declare_goals(grid: GridFolder) -> None:
    """Let every command of this process go by the metrics that the grid's files declared."""
    for program in read_programs(grid):
        declare_program_goal(program)


def declare_program_goal(program: Program) -> None:
    """Let every command of this process go by the metrics that a program declares."""
    declare_metrics(program.metrics)


def declare_metrics(metrics: ProgramMetrics) -> None:
    """Let every command of this process go by these metrics."""
    if metrics.report:
        declare_report(metrics.select, metrics.report)
    if metrics.select and metrics.goal:
        declare_goal(metrics.select, maximize=metrics.goal == "maximize")
