"""The device of a run, set up so that a seed gives equal numbers on equal devices."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def prepare_device(choice: str) -> torch.device:
    """Return the device for `choice` (auto, cpu, cuda), with one thread and deterministic kernels.

    Raises:
        RuntimeError: cuda is asked for and there is none.
    """
    torch.set_num_threads(1)
    has_cuda = choice != "cpu" and torch.cuda.is_available()
    if choice == "cuda" and not has_cuda:
        raise RuntimeError(
            "device cuda: no CUDA device is visible to this process; submit with device auto or cpu"
        )
    if not has_cuda:
        return torch.device("cpu")
    _make_cuda_deterministic()
    return torch.device("cuda")


def describe_device(device: torch.device) -> str:
    """Return the model name of the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _make_cuda_deterministic() -> None:
    # cuBLAS reads it when its handle is made
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # an operation without a deterministic kernel is a warning in the log, not the end of the run
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic = torch.utils.deterministic
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # not in the stubs
    torch.backends.cudnn.benchmark = False
