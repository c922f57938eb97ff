"""What runs on a login node: a grid file becomes scheduled runs. Never imports torch.

`jobs.submit_grid("grids/mnist.yaml")` submits a grid, `jobs.grid_status("mnist")` reads where its
runs stand. Commands are submodules: `python -m jobs.submit`, or `anlp submit`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.runs.status import RunStatus
    from jobs.submission.api import Submission, grid_status, submit_grid
    from jobs.submission.arguments import Overrides

__all__ = ["Overrides", "RunStatus", "Submission", "grid_status", "submit_grid"]


def __getattr__(name: str) -> Any:
    """Loads what is asked for, so that `import jobs` itself takes no time."""
    if name not in __all__:
        raise AttributeError(f"module 'jobs' has no attribute {name!r}")
    return getattr(import_module("jobs.submission.api"), name)
