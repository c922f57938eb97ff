"""Decide which variables of the user's shell Slurm's commands get: those that find the cluster.

`sbatch` reads options from `SBATCH_*`, and they win over the lines of a script; other commands
filter their answers by variables of their own; within a job the variables of that job are set.
So every variable with one of `PREFIXES` is left out, unless it is known to do no harm.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

PREFIXES = (
    "SBATCH_",
    "SLURM_",
    "SLURMD_",
    "SALLOC_",
    "SRUN_",
    "SQUEUE_",
    "SACCT_",
    "SACCTMGR_",
    "SCANCEL_",
    "SCONTROL_",
    "SINFO_",
    "PBS_",  # Slurm's wrappers for PBS set them in its jobs
)
# Variables that always pass, and why.
ALLOWED: Mapping[str, str] = MappingProxyType(
    {
        "SLURM_CONF": "where the cluster's configuration is",
        "SLURM_CONF_SERVER": "which controller hands out the configuration",
        "SLURM_JWT": "who the user is",
        "SLURM_SACK_SOCKET": "who the user is",
        "SLURM_SACK_KEY": "who the user is",
        "SLURM_SACK_JWKS": "who the user is",
        "SBATCH_ACCOUNT": "who pays, where the grid and the profile name no account",
    }
)
# Names of variables that do not follow from the option's.
IRREGULAR: Mapping[str, str] = MappingProxyType(
    {
        "array": "SBATCH_ARRAY_INX",
        "mem": "SBATCH_MEM_PER_NODE",
        "time": "SBATCH_TIMELIMIT",
    }
)
FIXED = MappingProxyType({"LC_ALL": "C", "SLURM_BITSTR_LEN": "0", "SLURM_TIME_FORMAT": "standard"})


def variable_of(option: str) -> str:
    """Return the variable that sets an option of sbatch.

    >>> variable_of("cpus-per-gpu"), variable_of("time")
    ('SBATCH_CPUS_PER_GPU', 'SBATCH_TIMELIMIT')
    """
    return IRREGULAR.get(option, f"SBATCH_{option.upper().replace('-', '_')}")


def environment(extra: Collection[str] = (), without: Collection[str] = ()) -> dict[str, str]:
    """Return the environment of a command of Slurm, whose answers are in English and unfiltered.

    Args:
        extra: variables that the site's profile lets through.
        without: variables that would override what a script says.
    """
    allowed = {*ALLOWED, *extra} - {*without}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in allowed or not name.startswith(PREFIXES)
    }
    return {**kept, **FIXED}


def options_passed(extra: Collection[str], without: Collection[str]) -> list[str]:
    """Return the variables with options of sbatch that are set and pass."""
    passed = environment(extra, without)
    return sorted(name for name in passed if name.startswith("SBATCH_"))


def options_left_out(extra: Collection[str], without: Collection[str]) -> list[str]:
    """Return the variables with options of sbatch that are set and do not pass.

    Those whose option the script has are no news: what the grid says holds.
    """
    passed = environment(extra)
    names = (name for name in os.environ if name.startswith("SBATCH_"))
    return sorted(name for name in names if name not in passed and name not in without)


def variables_over(script: str) -> list[str]:
    """Return environment variables that would override an option of the script."""
    return [variable_of(name) for name in re.findall(r"^#SBATCH --([a-z-]+)", script, re.MULTILINE)]


def check_names(names: Iterable[str], managed: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables that a profile lets through.

    Args:
        names: as the profile has them.
        managed: options that this tool gives, and the grid's key for each.

    Raises:
        ValueError: a name is of no variable of Slurm, or would change what this tool gives.
    """
    refused = {variable_of(option): key for option, key in managed.items()}
    # who pays and where jobs go may come from the environment; what a run asks for may not
    free = {variable_of(option) for option in ("account", "constraint", "partition", "qos")}
    found = tuple(names)
    for name in found:
        if not re.fullmatch(r"(SBATCH|SLURM)_[A-Z0-9_]+", name):
            raise ValueError(f"expected names such as SBATCH_RESERVATION, got {name!r}")
        if name == "SLURM_CLUSTERS" or (name in refused and name not in free):
            instead = f"; use `{refused[name]}` of the grid" if refused.get(name) else ""
            raise ValueError(f"{name} would change what this tool gives{instead}")
    return found
