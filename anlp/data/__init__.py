"""Data sets as tensors in memory: what a run trains on, loaded once per process and shared with forked children."""

from __future__ import annotations

from anlp.data.samples import DataSet, Samples
from anlp.data.sources import Sources

__all__ = ["DataSet", "Samples", "Sources"]
