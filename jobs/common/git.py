"""Ask git about a folder: its work tree, its commit, its files; the commit of this installation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from jobs.common import external

HERE = Path(__file__).resolve().parents[2]

# What an image holds.
PARTS = ("anlp", "jobs", "analysis", "profiles", "containers", "setup.cfg", "pyproject.toml")
LISTING_S = 60.0  # for the files of a large work tree on a slow file system
_IN_FULL = "-c", "core.quotePath=true"  # names that are not ASCII come as escapes, whole


class GitError(Exception):
    """git could not answer; the text is its own."""


def code_commit() -> str:
    """Return the full commit hash, with `+dirty` appended where the code differs from it.

    Files that are not in git yet count as a difference. Empty where the code is no git checkout of
    its own, also if it is installed below another checkout.
    """
    head = _git(HERE, "rev-parse", "--show-prefix", "HEAD")
    if head.code != 0 or not head.out.startswith("\n"):
        return ""
    changes = _git(HERE, "status", "--porcelain", "--", *PARTS)
    return head.out.strip() + ("+dirty" if changes.out.strip() else "")


def work_tree(folder: Path) -> Path | None:
    """Return the top of the git work tree that holds a folder; None where there is none."""
    top = _git(folder, *_IN_FULL, "rev-parse", "--show-toplevel")
    return Path(top.out.rstrip("\n")) if top.code == 0 and top.out.strip() else None


def project_commit(project: Path, *, without: Sequence[Path] = ()) -> str:
    """Return the commit of a project, with `+dirty` appended where its files differ from it.

    Files that are not in git yet, and not ignored, count as a difference. Empty where the project
    is in no work tree, or nothing was committed yet.

    Args:
        project: the work tree, or a folder of it: then its files alone are compared.
        without: folders whose files do not count, such as those of results.
    """
    head = _git(project, "rev-parse", "HEAD")
    if head.code != 0:
        return ""
    inside = [path for path in without if path.absolute().is_relative_to(project.absolute())]
    excluded = [f":(exclude){path.absolute().relative_to(project.absolute())}" for path in inside]
    changes = _git(project, "status", "--porcelain", "--", ".", *excluded)
    return head.out.strip() + ("+dirty" if changes.out.strip() else "")


def list_files(folder: Path, *, tracked: bool) -> list[str]:
    """Return files of a work tree below a folder, relative to it.

    A submodule is one name among the tracked files; a repository of its own that is not tracked is
    one name with a `/` at the end among the others.

    Args:
        folder: in a work tree.
        tracked: the tracked files, whether they still exist or not; False: those that are neither
            tracked nor ignored.

    Raises:
        GitError: the folder is in no work tree, or git is missing or refuses.
    """
    which = ["--cached"] if tracked else ["--others", "--exclude-standard"]
    answer = _git(folder, *_IN_FULL, "ls-files", *which, timeout_s=LISTING_S)
    if answer.code != 0:
        lines = answer.err.strip().splitlines()
        raise GitError(lines[0] if lines else f"git ended with exit code {answer.code}")
    return [unquoted(line) for line in answer.out.splitlines()]


def unquoted(name: str) -> str:
    r"""Return a file name as git lists it, without its quotes and escapes.

    >>> unquoted("plain.py"), unquoted(r'"a\tb\"c"')
    ('plain.py', 'a\tb"c')
    """
    if not (name.startswith('"') and name.endswith('"') and len(name) > 1):
        return name
    return os.fsdecode(name[1:-1].encode().decode("unicode_escape").encode("latin-1"))


def _git(folder: Path, *words: str, timeout_s: float = 10) -> external.Answer:
    return external.run(["git", "-C", str(folder), *words], timeout_s=timeout_s)
