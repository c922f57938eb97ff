"""Find the git commit of this installation, marked where the tree has changes."""

from __future__ import annotations

from pathlib import Path

from jobs.common import external

HERE = Path(__file__).resolve().parents[2]

# What an image holds.
PARTS = ("anlp", "jobs", "analysis", "profiles", "containers", "setup.cfg", "pyproject.toml")


def code_commit() -> str:
    """Return the full commit hash, with `+dirty` appended where the code differs from it.

    Files that are not in git yet count as a difference. Empty where the code is no git checkout of
    its own, also if it is installed below another checkout.
    """
    head = _git("rev-parse", "--show-prefix", "HEAD")
    if head.code != 0 or not head.out.startswith("\n"):
        return ""
    changes = _git("status", "--porcelain", "--", *PARTS)
    return head.out.strip() + ("+dirty" if changes.out.strip() else "")


def _git(*words: str) -> external.Answer:
    return external.run(["git", "-C", str(HERE), *words], timeout_s=10)
