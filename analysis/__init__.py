"""What runs on a laptop: finished runs become tables and charts. Never imports torch.

`analysis.load("mnist")` gives a notebook the runs of a grid as tidy DataFrames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.data.load import Runs, load

__all__ = ["Runs", "load"]


def __getattr__(name: str) -> Any:
    """Loads what a notebook asks for, so that `import analysis` itself costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    from analysis.data import load

    return getattr(load, name)
