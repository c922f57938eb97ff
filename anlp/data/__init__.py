"""Data sets as tensors in memory, loaded once per process and shared with forked children."""

from __future__ import annotations

from anlp.data.dataset_cache import DatasetCache
from anlp.data.samples import DataSet, Samples

__all__ = ["DataSet", "DatasetCache", "Samples"]
