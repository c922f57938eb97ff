"""Reads YAML grid files and expands them to runs; reports all faults at once, with file:line.

The grammar is in docs/grid-file.md.
"""

from jobs.gridfile.blocks import Axis, Block
from jobs.gridfile.grid import Expansion, GridSpec
from jobs.gridfile.load import load_grid
from jobs.gridfile.options import GRID_NAME, is_grid_name

__all__ = ["GRID_NAME", "Axis", "Block", "Expansion", "GridSpec", "is_grid_name", "load_grid"]
