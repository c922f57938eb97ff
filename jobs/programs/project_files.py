"""Decide which files of a project belong to a copy of its code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from anlp.core.errors import UserError
from anlp.records.folders import GridFolder, runs_root
from jobs.common.git import GitError, list_files

How = Literal["git", "files", "none"]

# Folders that hold no code: of tools, of results, of packages.
SKIPPED_FOLDERS = frozenset(
    {
        ".git", ".hg", ".svn", ".venv", "__pycache__", "node_modules", ".mypy_cache",
        ".ruff_cache", ".pytest_cache", ".ipynb_checkpoints", ".tox", ".nox", ".eggs", ".cache",
        ".idea", ".vscode", ".dvc", "runs", "wandb", "mlruns", "lightning_logs",
    }
)  # fmt: skip
_SKIPPED_ENDINGS = (".pyc", ".pyo", ".swp", ".DS_Store")
_ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta")


@dataclass(frozen=True)
class ProjectFiles:
    """The code of a project.

    Args:
        project: its folder, symbolic links resolved.
        how: `git` takes what git tracks and what it does not ignore, in submodules too; `files`
            takes every file. Results of runs, virtual environments and caches are never code.
        store: the folder of copies, which may be inside the project.
    """

    project: Path
    how: How
    store: Path
    _results: dict[Path, bool] = field(default_factory=dict, repr=False)

    def relative_paths(self) -> list[str]:
        """Return the paths of files and symbolic links, relative to the project, sorted.

        Raises:
            UserError: git does not know the project, or a folder cannot be read.
        """
        found = self._of_git(self.project, "") if self.how == "git" else self._below(self.project)
        return sorted(set(found))

    def _of_git(self, folder: Path, prefix: str) -> Iterator[str]:
        """Yield the files of a work tree; of a submodule, `prefix` is its path and a slash."""
        try:
            tracked, others = list_files(folder, tracked=True), list_files(folder, tracked=False)
        except GitError as error:
            raise UserError(
                f"snapshot: git: {folder} is not a work tree that git can list ({error}); use "
                "snapshot: files, or snapshot: none to run the files as they are then"
            ) from None
        for name in tracked:
            yield from self._tracked(folder, prefix, name)
        for name in others:
            if not self._is_skipped(name.rstrip("/")):
                yield from self._tracked(folder, prefix, name.rstrip("/"))

    def _tracked(self, folder: Path, prefix: str, name: str) -> Iterator[str]:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            if (path / ".git").exists():  # else a submodule that was never fetched
                yield from self._of_git(path, f"{prefix}{name}/")
        elif os.path.lexists(path) and not self._is_result(path.parent):
            yield f"{prefix}{name}"

    def _is_skipped(self, name: str) -> bool:
        folders = name.split("/")[:-1]
        return name.endswith(_SKIPPED_ENDINGS) or bool(SKIPPED_FOLDERS.intersection(folders))

    def _is_result(self, folder: Path) -> bool:
        """Return whether a folder is, or is inside, one of results, copies or packages."""
        if folder == self.project or folder == folder.parent:
            return False
        if folder not in self._results:
            is_own = folder in self._not_code or GridFolder(folder).journal.exists()
            is_environment = any((folder / mark).exists() for mark in _ENVIRONMENT_MARKS)
            self._results[folder] = is_own or is_environment or self._is_result(folder.parent)
        return self._results[folder]

    @cached_property
    def _not_code(self) -> frozenset[Path]:
        return frozenset({self.store.resolve(), runs_root().resolve()})

    def _below(self, folder: Path) -> Iterator[str]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be read for the code copy: {error.strerror}; make it readable, "
                "or use snapshot: git or snapshot: none"
            ) from None
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in SKIPPED_FOLDERS and not self._is_result(path):
                    yield from self._below(path)
            elif not entry.name.endswith(_SKIPPED_ENDINGS) and entry.name != ".git":
                yield str(path.relative_to(self.project))
