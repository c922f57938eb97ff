"""What runs on a login node: a grid file becomes scheduled runs. Never imports torch.

`jobs.submit_grid("grids/mnist.yaml")` submits a grid, `jobs.grid_status("mnist")` reads where its
runs stand. Commands are submodules: `python -m jobs.submit`, or `anlp submit`.
"""

from __future__ import annotations

import os
import sys

if sys.argv[:1] == ["-m"] and not getattr(sys.flags, "safe_path", False):
    # `python -m` looks for this package, with the current folder first on the path: a file there
    # (random.py, queue.py) or a folder (anlp) would hide a module. Only a checkout stays: behind
    # the standard library, and before what is installed, which may be another checkout.
    _here, _own = sys.path[0], os.path.dirname(__path__[0])  # noqa: PTH120 - pathlib is not safe yet
    _rest = [entry for entry in sys.path if entry != _here]
    _at = next((n for n, entry in enumerate(_rest) if entry.endswith("-packages")), len(_rest))
    sys.path[:] = _rest[:_at] + [_own] * (_own == _here) + _rest[_at:]

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
