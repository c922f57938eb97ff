"""Define the profile of a PBS site: the keys that PBS alone has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from jobs.config.fields import Key, one_of, text, whole
from jobs.config.yaml_tree import Tree, show
from jobs.schedulers.site import TOKEN, VARIABLE, Profile, like, several

_CHUNK = re.compile(r"[A-Za-z_]\w*=[A-Za-z0-9_.^@%/-]+")


def _read_path(tree: Tree) -> Path:
    value = Path(text(tree)).expanduser()
    if not value.is_absolute():
        raise ValueError(f"expected an absolute path, got {show(tree)}")
    return value


@dataclass(frozen=True)
class PbsProfile(Profile):
    """Holds the profile of a PBS site; `profiles/generic-pbs.yaml` explains the keys."""

    KEYS: ClassVar[Mapping[str, Key]] = {
        "dialect": Key("dialect", one_of("auto", "pro", "torque")),
        "select": Key("select", several(_CHUNK, "NAME=VALUE such as scratch_local=10gb")),
        "select_gpu": Key("select_gpu", several(_CHUNK, "NAME=VALUE such as gpu_mem=16gb")),
        "gpu_type": Key("gpu_type", like(VARIABLE, "the name of a chunk resource such as gpu_cap")),
        "max_array_size": Key("max_array_size", whole(1)),
        "modules": Key("modules", several(TOKEN, "the name of a module such as cuda/12.4")),
        "scratch": Key("scratch", like(VARIABLE, "the name of a variable such as SCRATCHDIR")),
        "clean_scratch": Key("clean_scratch", like(TOKEN, "the name of a command")),
        "env_file": Key("env_file", _read_path),
        "umask": Key("umask", like(re.compile("0?[0-7]{3}"), "a umask such as 077")),
    }

    scheduler: str = "pbs"
    dialect: str = "auto"  # "auto", "pro" or "torque"
    select: tuple[str, ...] = ()  # added to every chunk
    select_gpu: tuple[str, ...] = ()  # added to chunks with GPUs
    gpu_type: str | None = None  # the chunk resource that takes Resources.gpu_type
    modules: tuple[str, ...] = ()
    scratch: str = "SCRATCHDIR"  # variable with the job's own scratch directory
    clean_scratch: str | None = None  # command of the site that empties it
    env_file: Path | None = None  # read by the job; for secrets, so 0600
    umask: str = "077"
