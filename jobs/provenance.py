"""Which code was submitted: the git commit of this installation, marked when the tree had changes."""

from __future__ import annotations

from pathlib import Path

from jobs import shell

HERE = Path(__file__).resolve().parent.parent


def code_commit() -> str:
    """Full commit hash, with `+dirty` appended for a changed tree; empty where the code is in no git checkout."""
    head = shell.run(["git", "-C", str(HERE), "rev-parse", "HEAD"], timeout_s=10)
    if head.code != 0:
        return ""
    changes = shell.run(["git", "-C", str(HERE), "status", "--porcelain", "--untracked-files=no"], timeout_s=10)
    return head.out.strip() + ("+dirty" if changes.out.strip() else "")
