"""Define what a job asks of a machine, each in one unit, and how people write it.

The grid file's key, the option of the command line and what is for clusters only follow from the
metadata of a field: a new resource is one field here and one line in each scheduler that has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, cast

from anlp.core.checked import make
from anlp.core.units import MOST_MIB, MOST_MINUTES, parse_memory, parse_walltime
from jobs.config.fields import Key, amount, text, texts, whole
from jobs.config.yaml_tree import Tree

MOST = 1_000_000  # of anything that a job asks for


@dataclass(frozen=True, slots=True)
class Asked:
    """Says how people write one field of `Resources`.

    Args:
        keys: of the grid file and of a profile's defaults.
        read: reads the key's value from YAML.
        metavar: of the option on the command line, whose name is that of the first key.
        help: of the option.
        least: the smallest whole number that the option takes; None: it takes text.
        parse: reads the option's text, where the field is neither text nor a whole number.
        clusters_only: whether it changes nothing on this machine.
    """

    keys: tuple[str, ...]
    read: Callable[[Tree], Any]
    metavar: str
    help: str
    least: int | None = None
    parse: Callable[[str], Any] | None = None
    clusters_only: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the options of the command line: `--gpu-type`."""
        return tuple("--" + key.replace("_", "-") for key in self.keys)

    @property
    def dest(self) -> str:
        """Return the name under which the parsed command line has its value."""
        return self.keys[0]


def _asked(default: Any, asked: Asked) -> Any:
    return field(default=default, metadata={"asked": asked})


def _name(key: str, metavar: str, help: str, *others: str) -> Any:
    """Return a field that takes a name, and that this machine has no use for."""
    return _asked(None, Asked((key, *others), text, metavar, help, clusters_only=True))


@dataclass(frozen=True, slots=True)
class Resources:
    """What one element asks for; None leaves it to the scheduler.

    Not part of a run's id: where a run ran is not what it was.
    """

    gpus: int = _asked(0, Asked(("gpus",), whole(0), "N", "GPUs of each run", least=0))
    cpus: int = _asked(1, Asked(("cpus",), whole(1), "N", "CPUs of each run", least=1))
    mem_mib: int | None = _asked(
        None,
        Asked(
            ("mem",),
            amount(parse_memory, "an amount of memory such as 8G or 500M"),
            "M",
            "memory limit of each run, such as 8G",
            parse=parse_memory,
        ),
    )
    walltime_min: float | None = _asked(
        None,
        Asked(
            ("time",),
            amount(parse_walltime, "a time such as 30m, 1h30m or 01:30:00"),
            "T",
            "time limit of each run, such as 30m or 2h",
            parse=parse_walltime,
        ),
    )
    queue: str | None = _name("queue", "Q", "queue or partition of the cluster", "partition")
    account: str | None = _name("account", "A", "account or project that pays")
    qos: str | None = _name("qos", "Q", "quality of service")
    gpu_type: str | None = _name("gpu_type", "T", "kind of GPU, as the site names it")
    constraint: str | None = _name("constraint", "F", "features that a node must have")
    exclude: str | None = _name("exclude", "NODES", "nodes not to use")
    nodes: int = _asked(
        1,
        Asked(
            ("nodes",),
            whole(1),
            "N",
            "nodes of each job (a run uses one)",
            least=1,
            clusters_only=True,
        ),
    )
    extra: tuple[str, ...] = _asked(  # options passed to the scheduler as they are
        (),
        Asked(
            ("extra",),
            texts,
            "OPTION",
            "one more option of the scheduler: --extra=--nice=50",
            clusters_only=True,
        ),
    )


ASKED: Mapping[str, Asked] = {
    entry.name: cast("Asked", entry.metadata["asked"]) for entry in fields(Resources)
}
RESOURCE_KEYS: Mapping[str, Key] = {
    key: Key(name, asked.read) for name, asked in ASKED.items() for key in asked.keys
}
CLUSTER_ONLY = tuple(name for name, asked in ASKED.items() if asked.clusters_only)


def resources_from_json(form: Any) -> Resources:
    """Return the inverse of `dataclasses.asdict` through JSON; unknown fields are left aside.

    Raises:
        ValueError: not the form of resources; `describe_fault` says what is wrong.
    """
    found = make(Resources, form)
    bounds = (
        (found.gpus, MOST),
        (found.cpus, MOST),
        (found.nodes, MOST),
        (found.mem_mib or 0, MOST_MIB),
        (found.walltime_min or 0, MOST_MINUTES),
    )
    for value, most in bounds:
        if not 0 <= value <= most:
            raise ValueError(f"expected an amount from 0 to {most:,.0f}, got {value!r:.60}")
    return found
