"""What the table of tasks has of each task."""

from __future__ import annotations

from dataclasses import dataclass

from anlp.core.spec import TaskSettings


@dataclass(frozen=True, slots=True)
class Task:
    """A task: its settings class and the `module:function` of its builder.

    The builder is imported on the compute node only.
    """

    settings: type[TaskSettings]
    builder: str
