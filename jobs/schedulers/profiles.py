"""Site profiles: what one cluster calls things, in one commented YAML file that its people adapt."""

from __future__ import annotations

import os
import re
import site
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from anlp.core.errors import SpecError, did_you_mean
from anlp.core.units import parse_walltime
from jobs.config.fields import RESOURCE_KEYS, Key, one_of, text, texts, whole
from jobs.config.resources import Resources
from jobs.config.yaml_tree import (
    Faults,
    Items,
    Leaf,
    Table,
    Tree,
    join,
    parse_yaml,
    read_text,
    show,
)

NO_DEFAULTS = frozenset(
    {"gpus", "cpus", "nodes"}
)  # always said by `Resources`: a default would never be used

SLURM_WARN_S = 90.0
SLURM_MOST_WARN_S = 480  # Slurm sends up to 60 s early, and what comes in the last ten minutes counts as the limit's

_TOKEN = re.compile(r"[A-Za-z0-9_.+:/@=^%~-]+")
_CHUNK = re.compile(r"[A-Za-z_]\w*=[A-Za-z0-9_.^@%/-]+")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class QueueRule:
    """A queue, and the jobs that belong into it."""

    queue: str
    min_gpus: int = 0
    max_gpus: int | None = None
    over_min: float = 0.0  # longer than so many minutes
    upto_min: float | None = None

    def fits(self, resources: Resources) -> bool:
        """Whether jobs that ask for this belong into the queue; without a time limit, only if the rule names none."""
        if resources.gpus < self.min_gpus or (
            self.max_gpus is not None and resources.gpus > self.max_gpus
        ):
            return False
        if resources.walltime_min is None:
            return self.over_min == 0 and self.upto_min is None
        return self.over_min < resources.walltime_min <= (self.upto_min or resources.walltime_min)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a site calls things; every field is a key of the file, explained in `profiles/generic-pbs.yaml`."""

    name: str
    scheduler: str = "pbs"  # "pbs" or "slurm"
    dialect: str = "auto"  # pbs: "auto", "pro" or "torque"
    defaults: Mapping[str, Any] = field(default_factory=dict)  # fields of Resources
    queues: tuple[QueueRule, ...] = ()
    select: tuple[str, ...] = ()  # pbs: added to every chunk
    select_gpu: tuple[str, ...] = ()  # pbs: added to chunks with GPUs
    gpu_type: str | None = None  # pbs: name of the chunk resource that takes Resources.gpu_type
    max_array_size: int | None = None
    modules: tuple[str, ...] = ()
    scratch: str = "SCRATCHDIR"  # variable with the job's own scratch directory
    clean_scratch: str | None = None  # command of the site that empties it
    env_file: Path | None = None  # read by the job; for secrets, so 0600
    umask: str = "077"
    warn_s: float = 120.0  # before the time limit; of a file for slurm that does not say so, 90
    continuations: int = 20  # slurm: of an element after reaching its time limit
    container: str | None = None  # the image that runs of this site are carried out in
    binds: tuple[str, ...] = ()  # what is seen inside besides runs and data


def apply(profile: Profile, resources: Resources) -> Resources:
    """`resources` with the site's defaults where nothing was asked for, and the queue that its rules choose."""
    names = [entry.name for entry in fields(resources) if entry.name not in {"extra", *NO_DEFAULTS}]
    missing = {
        name: profile.defaults[name]
        for name in names
        if getattr(resources, name) is None and name in profile.defaults
    }
    filled = replace(
        resources, **missing, extra=(*profile.defaults.get("extra", ()), *resources.extra)
    )
    if resources.queue is not None:
        return filled
    queue = next((rule.queue for rule in profile.queues if rule.fits(filled)), filled.queue)
    return replace(filled, queue=queue)


def fill_limits(profile: Profile, resources: Resources) -> Resources:
    """`resources` with the site's time and memory where a run asks for none.

    These are filled in before runs share jobs, whose limits are sums, and before the journal says what was asked for,
    from which a retry works out more. All else that a profile adds is added by whoever writes the script (`apply`).
    """
    memory, time = resources.mem_mib, resources.walltime_min
    return replace(
        resources,
        mem_mib=profile.defaults.get("mem_mib") if memory is None else memory,
        walltime_min=profile.defaults.get("walltime_min") if time is None else time,
    )


def load_profile(name: str) -> Profile:
    """The profile of that name, the user's own before a shipped one; a path to a file is taken as it is.

    Raises:
        SpecError: there is none of that name, or it has faults; all of them are named.
    """
    if is_profile_path(name):
        return parse_profile(read_text(Path(name)), Path(name))
    for folder in profile_folders():
        path = folder / f"{name}.yaml"
        if path.is_file():
            return parse_profile(read_text(path), path)
    raise SpecError(f"profile {name!r}: no such profile{did_you_mean(name, profile_names())}")


def is_profile_path(name: str) -> bool:
    """Whether a profile was named by its file."""
    return "/" in name or name.endswith(".yaml")


def profile_names() -> list[str]:
    """Every profile that can be named."""
    return sorted({path.stem for folder in profile_folders() for path in folder.glob("*.yaml")})


def profile_folders() -> list[Path]:
    """Where profiles are looked for, in this order: the user's, the checkout's, those installed with the package."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    beside = Path(__file__).resolve().parents[2]
    share = Path("share", "anlp", "profiles")
    shipped = (
        beside / "profiles",
        beside / share,
        Path(sysconfig.get_path("data")) / share,
        Path(site.getuserbase()) / share,
    )
    return [config / "anlp" / "profiles", *[folder for folder in shipped if folder.is_dir()][:1]]


def parse_profile(content: str, path: Path) -> Profile:
    """The profile in a file's text.

    Raises:
        SpecError: all faults at once, each with its line.
    """
    faults = Faults(path)
    tree = parse_yaml(content, faults)
    faults.raise_if_any()
    if not isinstance(tree, Table):
        raise SpecError(
            f"{path}: expected a mapping with {', '.join(_KEYS)}, got {show(tree) if tree else 'nothing'}"
        )
    found = _read_table(tree, "", _KEYS, faults)
    if "defaults" in tree.entries:
        found["defaults"] = _read_defaults(tree.entries["defaults"].tree, faults)
    if "queues" in tree.entries:
        found["queues"] = _read_queues(tree.entries["queues"].tree, faults)
    if found.get("scheduler") == "slurm":
        found.setdefault("warn_s", SLURM_WARN_S)
    _refuse_strangers(tree, found, faults)
    faults.raise_if_any()
    return Profile(path.stem, **found)


def _read_table(
    tree: Tree, path: str, keys: Mapping[str, Key | None], faults: Faults
) -> dict[str, Any]:
    """The fields of one mapping; keys that stand for None are read by somebody else."""
    if isinstance(tree, Leaf) and tree.value is None:
        return {}
    if not isinstance(tree, Table):
        faults.add(tree.line, path, f"expected a mapping with {', '.join(keys)}, got {show(tree)}")
        return {}
    found: dict[str, Any] = {}
    for name, entry in tree.entries.items():
        if name not in keys:
            faults.add(entry.line, path, f"unknown key {name!r}{did_you_mean(name, keys)}")
            continue
        key = keys[name]
        if key is not None and not (isinstance(entry.tree, Leaf) and entry.tree.value is None):
            try:
                found[key.field] = key.parse(entry.tree)
            except ValueError as fault:
                faults.add(entry.tree.line, join(path, name), str(fault))
    return found


def _refuse_strangers(tree: Table, found: Mapping[str, Any], faults: Faults) -> None:
    """What only the other scheduler has would be left out without a word."""
    scheduler = found.get("scheduler", "pbs")
    other, keys = ("PBS", _OF_PBS) if scheduler == "slurm" else ("Slurm", _OF_SLURM)
    for name, entry in tree.entries.items():
        if name in keys and name in found:
            faults.add(
                entry.line,
                name,
                f"only {other} has this, and the profile is for {scheduler}; remove it",
            )
    if scheduler == "slurm" and not 1 <= found["warn_s"] <= SLURM_MOST_WARN_S:
        line = tree.entries["warn"].line
        faults.add(
            line,
            "warn",
            f"expected 1 s to {SLURM_MOST_WARN_S} s, got {found['warn_s']:g} s: Slurm warns early",
        )


def _read_defaults(tree: Tree, faults: Faults) -> dict[str, Any]:
    return _read_table(
        tree,
        "defaults",
        {name: key for name, key in RESOURCE_KEYS.items() if name not in NO_DEFAULTS},
        faults,
    )


def _read_queues(tree: Tree, faults: Faults) -> tuple[QueueRule, ...]:
    if isinstance(tree, Leaf) and tree.value is None:
        return ()
    if not isinstance(tree, Items):
        faults.add(tree.line, "queues", f"expected a list of queues, got {show(tree)}")
        return ()
    rules = []
    for index, item in enumerate(tree.items):
        form = _read_table(item, f"queues[{index}]", _QUEUE_KEYS, faults)
        if "queue" in form:
            rules.append(QueueRule(**form))
        elif isinstance(item, Table):
            faults.add(item.line, f"queues[{index}]", "expected the queue's name under 'queue'")
    return tuple(rules)


def _like(pattern: re.Pattern[str], wanted: str) -> Callable[[Tree], str]:
    """Reads a text of one form; what goes into a script or a directive must not say more than it should."""

    def parse(tree: Tree) -> str:
        value = text(tree)
        if not pattern.fullmatch(value):
            raise ValueError(f"expected {wanted}, got {show(tree)}")
        return value

    return parse


def _several(pattern: re.Pattern[str], wanted: str) -> Callable[[Tree], tuple[str, ...]]:
    def parse(tree: Tree) -> tuple[str, ...]:
        values = texts(tree)
        wrong = next((value for value in values if not pattern.fullmatch(value)), None)
        if wrong is not None:
            raise ValueError(f"expected {wanted}, got {wrong!r}")
        return values

    return parse


def _minutes(tree: Tree) -> float:
    return parse_walltime(text(tree))


def _seconds(tree: Tree) -> float:
    return 0.0 if text(tree) == "0" else parse_walltime(text(tree)) * 60


def _path(tree: Tree) -> Path:
    value = Path(text(tree)).expanduser()
    if not value.is_absolute():
        raise ValueError(f"expected an absolute path, got {show(tree)}")
    return value


_KEYS: Mapping[str, Key | None] = {
    "scheduler": Key("scheduler", one_of("pbs", "slurm")),
    "dialect": Key("dialect", one_of("auto", "pro", "torque")),
    "defaults": None,
    "queues": None,
    "select": Key("select", _several(_CHUNK, "NAME=VALUE such as scratch_local=10gb")),
    "select_gpu": Key("select_gpu", _several(_CHUNK, "NAME=VALUE such as gpu_mem=16gb")),
    "gpu_type": Key("gpu_type", _like(_VARIABLE, "the name of a chunk resource such as gpu_cap")),
    "max_array_size": Key("max_array_size", whole(1)),
    "modules": Key("modules", _several(_TOKEN, "the name of a module such as cuda/12.4")),
    "scratch": Key("scratch", _like(_VARIABLE, "the name of a variable such as SCRATCHDIR")),
    "clean_scratch": Key("clean_scratch", _like(_TOKEN, "the name of a command")),
    "env_file": Key("env_file", _path),
    "umask": Key("umask", _like(re.compile("0?[0-7]{3}"), "a umask such as 077")),
    "warn": Key("warn_s", _seconds),
    "continuations": Key("continuations", whole(0)),
    "container": Key("container", text),
    "binds": Key("binds", texts),
}
_OF_PBS = frozenset(
    {
        *(
            "dialect",
            "select",
            "select_gpu",
            "gpu_type",
            "max_array_size",
            "modules",
            "scratch",
            "clean_scratch",
        ),
        *("env_file", "umask"),
    }
)
_OF_SLURM = frozenset({"continuations"})
_QUEUE_KEYS: Mapping[str, Key] = {
    "queue": Key("queue", _like(_TOKEN, "the name of a queue")),
    "min_gpus": Key("min_gpus", whole(0)),
    "max_gpus": Key("max_gpus", whole(0)),
    "over": Key("over_min", _minutes),
    "up_to": Key("upto_min", _minutes),
}
