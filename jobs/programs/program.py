"""What a grid file says of the user's own code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from anlp.core.spec import Scalar
from anlp.records.program import Program


@dataclass(frozen=True, slots=True)
class ProgramBlock:
    """The user's own code of a grid, before it is copied.

    Args:
        program: without the copy of its code.
        smoke: settings of a small run; empty: what `jobs.submission.variants` makes small.
        note: what should be known of how its arguments were found; empty: nothing.
    """

    program: Program
    smoke: Mapping[str, Scalar] = field(default_factory=dict)
    note: str = ""
