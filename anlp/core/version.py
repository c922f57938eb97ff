"""The version of the three packages.

In a module of its own, so that a folder called `anlp` in the current folder cannot hide it.
"""

from __future__ import annotations

__version__ = "0.1.0"
