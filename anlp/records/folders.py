"""Paths of a grid's folder and of a run's folder; a grid found by its name, file or folder."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from anlp.console.verbs import command_name
from anlp.core.errors import UserError
from anlp.core.files import read_at_most

MOST_BYTES = 1_000_000  # of a grid file
YAML_SUFFIXES = (".yaml", ".yml")
KEPT_FILE = re.compile(r"grid(-[0-9a-f]{8})?\.yaml")
_NAME_LINE = re.compile(r"""^name:[ \t]+("[^"\n]+"|'[^'\n]+'|[^"'#\s][^#\n]*)""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run. Each file has one writer: the run itself."""

    path: Path

    @property
    def run_id(self) -> str:
        """Return the run's id, which is the folder's name."""
        return self.path.name

    @property
    def spec(self) -> Path:
        """`RunSpec` and `RunOptions`, the first thing a run writes."""
        return self.path / "spec.json"

    @property
    def metrics(self) -> Path:
        """Return one line per epoch, epoch 0 before the first update."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint(self) -> Path:
        """Return what an interrupted run continues from."""
        return self.path / "checkpoint.pt"

    @property
    def weights(self) -> Path:
        """Return the weights that were kept (`RunOptions.keep`)."""
        return self.path / "weights.pt"

    @property
    def result(self) -> Path:
        """Written once, last, by rename: its presence means that the run ended."""
        return self.path / "result.json"

    @property
    def log(self) -> Path:
        """Output of all attempts."""
        return self.path / "log.txt"

    @property
    def attempts(self) -> Path:
        """Return the folder of leases (`anlp.core.lease`): one per attempt, with its ending."""
        return self.path / "attempts"

    @property
    def predictions(self) -> Path:
        """Return the model's outputs for each test sample, where the grid asks for it."""
        return self.path / "predictions.npz"

    @property
    def wandb(self) -> Path:
        """Return the files of wandb."""
        return self.path / "wandb"

    @property
    def files(self) -> Path:
        """Return the folder that the user's own program may write to, `${run_dir}`."""
        return self.path / "files"

    @property
    def logged(self) -> Path:
        """Return the JSON lines that the user's own program appends, `$ANLP_METRICS`."""
        return self.path / "logged.jsonl"


@dataclass(frozen=True, slots=True)
class GridFolder:
    """`runs/<grid>`: what submit wrote, and one folder per run."""

    path: Path

    @property
    def name(self) -> str:
        """Return the grid's name."""
        return self.path.name

    @property
    def journal(self) -> Path:
        """Append-only record of what was asked of the scheduler and what it answered."""
        return self.path / "journal.jsonl"

    @property
    def batches(self) -> Path:
        """Return one file per submission."""
        return self.path / "batches"

    @property
    def programs(self) -> Path:
        """Return one file per program that runs start (`anlp.records.program`)."""
        return self.path / "programs"

    @property
    def code(self) -> Path:
        """Return the copies of the user's own code, one folder per content."""
        return self.path / "code"

    @property
    def lock(self) -> Path:
        """Leases of commands that plan and submit."""
        return self.path / "lock"

    @property
    def finished(self) -> Path:
        """Cache of the results that are final, instead of reading 10,000 folders again."""
        return self.path / "finished.jsonl"

    @property
    def endings(self) -> Path:
        """Append-only: how jobs ended, as commands that only look learned it from a scheduler."""
        return self.path / "endings.jsonl"

    @property
    def answers(self) -> Path:
        """Cache of the schedulers' last answers, so that commands in a row ask once."""
        return self.path / "answers.json"

    def run(self, run_id: str) -> RunFolder:
        """Return the folder of one run, whether it exists or not."""
        return RunFolder(self.path / run_id)


def runs_root() -> Path:
    """Return the folder that holds one folder for each grid: `$ANLP_RUNS`, else `./runs`."""
    return Path(os.environ.get("ANLP_RUNS") or "runs").absolute()


def data_dir() -> Path:
    """Return the folder with the data sets: `$ANLP_DATA`, else `./data`."""
    return Path(os.environ.get("ANLP_DATA") or "data").absolute()


def list_grids() -> list[GridFolder]:
    """Return the grids that were ever submitted to, by name."""
    folders = [GridFolder(runs_root() / name) for name in _names_in(runs_root())]
    return [folder for folder in folders if folder.journal.exists()]


def find_grid(text: str) -> GridFolder:
    """Return the folder of the grid that a person named: by its name, its YAML file or its folder.

    A name is looked for in `runs_root` first and in the working directory next. A text with a slash
    is a folder and nothing else. A YAML file stands for the grid whose name it gives, or else for
    the one with the name of the file.

    Raises:
        UserError: there is no such grid; the text names the nearest ones.
    """
    path = Path(text)
    if kept := grid_that_keeps(path):
        return kept
    if path.suffix in YAML_SUFFIXES and not path.is_dir():
        places = [runs_root() / _name_in_file(path)]
    elif len(path.parts) == 1 and path.name not in ("", ".."):
        places = [runs_root() / path.name, path]
    else:
        places = [path]
    for place in places:
        if place.is_dir():
            return GridFolder(Path(os.path.abspath(place)))  # noqa: PTH100 - a link keeps its name
    raise UserError(
        f"{text}: no such grid in {runs_root()} ({_hint(path)}); "
        f"submit it first: {command_name('jobs.submit')} FILE.yaml"
    )


def grid_that_keeps(file: Path) -> GridFolder | None:
    """Return the grid whose folder keeps this copy of its file (`grid.yaml`), None for others."""
    if not KEPT_FILE.fullmatch(file.name):
        return None
    folder = GridFolder(Path(os.path.abspath(file)).parent)  # noqa: PTH100 - a link keeps its name
    return folder if folder.journal.exists() else None


def _name_in_file(path: Path) -> str:
    """Return the name of the grid that a YAML file describes."""
    try:
        text = read_at_most(path, MOST_BYTES).decode(errors="replace")
        found = _NAME_LINE.search(text)
    except OSError:
        found = None
    name = found[1].strip().strip("\"'") if found else path.stem
    return make_grid_name(name) or path.stem


def make_grid_name(text: str) -> str:
    """Return a name that the folder of a grid can have: other characters become hyphens.

    >>> make_grid_name("My first sweep!"), make_grid_name("mnist.v2"), make_grid_name("?")
    ('My-first-sweep', 'mnist.v2', '')
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:100]


def _hint(path: Path) -> str:
    known = _names_in(runs_root())
    near = difflib.get_close_matches(path.stem, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"submitted grids: {', '.join(known) or 'none'}"


def _names_in(root: Path) -> list[str]:
    """Return the folders in `root` that are not hidden, in order."""
    try:
        with os.scandir(root) as entries:
            return sorted(
                entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")
            )
    except OSError:
        return []
