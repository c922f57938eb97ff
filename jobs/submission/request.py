"""What one submit is asked for: made once from a command line or from the arguments of a call."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from anlp.core.errors import UserError
from anlp.records.folders import GridFolder, find_grid, grid_that_keeps, runs_root
from jobs.gridfile import GRID_NAME, is_grid_name
from jobs.runs.batches import Redo
from jobs.submission.arguments import Overrides
from jobs.submission.variants import SUFFIX

FRESH_SEEDS = 5
GRID_FILES = Path("grids")  # where a name is looked for first
SHIPPED = Path(__file__).resolve().parents[2] / GRID_FILES  # of the checkout, from any folder
YAML_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Fresh seeds for the best configurations instead of the grid's own runs."""

    top: int
    per: str | None = None  # the best for each value of this setting
    metric: str = ""  # empty: what the finished runs monitor
    seeds: int = FRESH_SEEDS


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """One submit.

    Args:
        source: the grid file.
        name: of the grid's folder; empty: the grid's name.
        grid_name: of the grid; empty: what the file is called or says.
        settings: `NAME=VALUE[,VALUE…]` each, over what the file says.
        seeds: a count or a list, over what the file says.
        only: a filter; empty: all runs.
        smoke: one small run of each model instead, in a folder of its own.
        redo: which earlier results are set aside.
        reuse: whether results of other grids are taken over.
        confirm: fresh seeds instead.
        overrides: where and how.
        dry_run: work out the plan and write nothing.
        yes: agree to every question.
        as_json: print the plan as JSON.
    """

    source: Path
    name: str = ""
    grid_name: str = ""
    settings: tuple[str, ...] = ()
    seeds: str | None = None
    only: str = ""
    smoke: bool = False
    redo: Redo = "none"
    reuse: bool = False
    confirm: Confirmation | None = None
    overrides: Overrides = field(default_factory=Overrides)
    dry_run: bool = False
    yes: bool = False
    as_json: bool = False

    def folder(self, grid_name: str) -> GridFolder:
        """Return the folder of the grid of this name."""
        name = self.name or grid_name
        if self.smoke:
            name += SUFFIX
        return GridFolder(runs_root() / name)


def check_grid_name(name: str | None) -> str:
    """Return the name given by `--name`, empty where there is none.

    Raises:
        UserError: a grid cannot have this name.
    """
    if name is None:
        return ""
    if not is_grid_name(name):
        raise UserError(f"--name: expected {GRID_NAME}, got {name!r}")
    return name


def parse_seed_count(text: str | None) -> int:
    """Return the number of fresh seeds that `--seeds` asks for.

    Raises:
        UserError: it is no positive number.
    """
    if text is None:
        return FRESH_SEEDS
    number = int(text) if text.isdecimal() and len(text) < 6 else 0
    if number < 1:
        raise UserError(
            f"--seeds: with --confirm expected a number of fresh seeds, got {text!r:.60}"
        )
    return number


def find_grid_file(text: str) -> tuple[Path, str]:
    """Return the grid file that is meant, and its grid's name where the file does not say.

    Args:
        text: a file; the name of a file in `grids/`, without its suffix; a submitted grid by its
            name, its folder, or the copy of its file that its folder keeps; or the name of a
            shipped file.

    Raises:
        UserError: there is no such grid, or its folder has no file or several.
    """
    path = Path(text)
    if kept := grid_that_keeps(path):
        _refuse_smoke(text, kept)
        if kept.path.parent.resolve() != runs_root().resolve():
            raise UserError(
                f"{path}: is of a grid in {kept.path.parent}, and $ANLP_RUNS says {runs_root()}; "
                "set ANLP_RUNS to continue it, or copy the file to begin a new grid"
            )
        return path, kept.name
    if path.suffix in YAML_SUFFIXES or (path.exists() and not path.is_dir()):
        return path, ""
    if named := _named_in(GRID_FILES, text):
        return named, ""
    try:
        folder = find_grid(text)
    except UserError:
        if named := _named_in(SHIPPED, text):
            return named, ""
        raise UserError(
            f"{text}: no such grid file, and no grid of this name in {GRID_FILES}/ or {runs_root()}"
        ) from None
    return _kept_file(text, folder), folder.name


def _named_in(place: Path, name: str) -> Path | None:
    """Return the grid file of this name in a folder, None where there is none."""
    if is_grid_name(name):
        for suffix in YAML_SUFFIXES:
            path = place / (name + suffix)
            if path.is_file():
                return path
    return None


def _refuse_smoke(text: str, folder: GridFolder) -> None:
    if folder.name.endswith(SUFFIX):
        raise UserError(f"{text}: a smoke test; name the grid's own file, with --smoke")


def _kept_file(text: str, folder: GridFolder) -> Path:
    """Return the copy of the grid file in a submitted grid's folder; `text` is what was typed."""
    _refuse_smoke(text, folder)
    files = sorted(folder.path.glob("grid*.yaml"))
    if len(files) == 1:
        return files[0]
    if not files:
        raise UserError(f"{text}: expected a grid file, got a directory that holds none")
    names = ", ".join(file.name for file in files)
    raise UserError(f"{folder.path}: holds several grid files ({names}); name one of them")
