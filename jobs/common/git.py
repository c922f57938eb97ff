"""Which code was submitted: the git commit of this installation, marked when the tree had changes."""

from __future__ import annotations

from pathlib import Path

from jobs.common import external

HERE = Path(__file__).resolve().parents[2]


PARTS = (
    "anlp",
    "jobs",
    "analysis",
    "profiles",
    "containers",
    "setup.cfg",
    "pyproject.toml",
)  # what an image holds


def code_commit() -> str:
    """Full commit hash, with `+dirty` appended where the code differs from it, also by files that are not in git yet.

    Empty where the code is no git checkout of its own: installed below somebody else's, it is not of that commit.
    """
    head = _git("rev-parse", "--show-prefix", "HEAD")
    if head.code != 0 or not head.out.startswith("\n"):
        return ""
    changes = _git("status", "--porcelain", "--", *PARTS)
    return head.out.strip() + ("+dirty" if changes.out.strip() else "")


def _git(*words: str) -> external.Answer:
    return external.run(["git", "-C", str(HERE), *words], timeout_s=10)
