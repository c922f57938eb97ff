"""YAML grid file -> GridSpec -> RunSpecs; all faults at once, with file:line. The grammar is in docs/grid-file.md."""

from jobs.gridfile.blocks import Axis, Block
from jobs.gridfile.expansion import Expansion
from jobs.gridfile.load import load_grid
from jobs.gridfile.spec import GridSpec

__all__ = ["Axis", "Block", "Expansion", "GridSpec", "load_grid"]
