"""What runs on a compute node: tasks, data, models, training, tracking.

`core` and `records` are shared with `jobs` and `analysis`. For packages that bring a task of their
own: `TaskSettings`, `TrainingSettings` and `register_task`; for a training function or script:
`Run`. Each is imported when it is first used,
so that `import anlp` stays cheap.
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

from typing import TYPE_CHECKING, Any

from anlp.core.version import __version__

if TYPE_CHECKING:
    from anlp.core.spec import TaskSettings
    from anlp.core.training_settings import TrainingSettings
    from anlp.functions.run import Run
    from anlp.tasks import register_task

__all__ = ["Run", "TaskSettings", "TrainingSettings", "__version__", "register_task"]

_MODULES = {
    "Run": "anlp.functions.run",
    "TaskSettings": "anlp.core.spec",
    "TrainingSettings": "anlp.core.training_settings",
    "register_task": "anlp.tasks",
}


def __getattr__(name: str) -> Any:
    if name == "run":  # `anlp.run()`, and the module of `python -m anlp.run`
        from importlib import import_module

        return import_module("anlp.run")
    if name not in _MODULES:
        raise AttributeError(f"module 'anlp' has no attribute {name!r}")
    from importlib import import_module  # not needed by most who import anlp

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
