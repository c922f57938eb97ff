"""What passes into an Apptainer image of the environment, on the login node and on nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

# a scheduler adds the prefixes of its own variables
PREFIXES = (
    "ANLP_",
    "CUDA_",
    "NCCL_",
    "NVIDIA_",
    "PYTORCH_",
    "SUBMITIT_",
    "TORCH_",
    "WANDB_",
)
NAMES = (
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "TMPDIR",
    "TZ",
    "USER",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)


def variable_prefix(program: str) -> str:
    """Return what goes before the name of a variable that is meant for the inside.

    >>> variable_prefix("/usr/bin/apptainer")
    'APPTAINERENV_'

    Args:
        program: `apptainer` or `singularity`, or its path.
    """
    return f"{Path(program).name.upper()}ENV_"


def passing(
    program: str, environment: Mapping[str, str], prefixes: Sequence[str], names: Sequence[str]
) -> dict[str, str]:
    """Return the environment with what passes inside marked; no value becomes a word of a command.

    Args:
        program: `apptainer` or `singularity`, or its path.
        environment: of the process that starts it.
        prefixes: of the variables that pass.
        names: of further ones.
    """
    prefix = variable_prefix(program)
    passed = {
        prefix + name: value
        for name, value in environment.items()
        if name in names or name.startswith(tuple(prefixes))
    }
    return {**environment, **passed}
