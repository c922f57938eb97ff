from __future__ import annotations

import os
from pathlib import Path

import pytest

from anlp.core.errors import SchedulerError
from jobs.config.resources import Resources
from jobs.schedulers.local.slots import Machine, find_gpus, inspect, parse_gpus, plan_slots

TWO_GPUS = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5a1f0f3c-aaaa-bbbb-cccc-000000000000)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-5a1f0f3c-aaaa-bbbb-cccc-000000000001)
"""
ONE_CUT_IN_SLICES = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-0)
  MIG 3g.20gb     Device  0: (UUID: MIG-a)
  MIG 3g.20gb     Device  1: (UUID: MIG-b)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-1)
"""
MACHINE = Machine(cores=4, mem_mib=8000, gpus=("GPU-a", "GPU-b", "GPU-c"))
NO_GPU = Machine(cores=4, mem_mib=8000)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            TWO_GPUS,
            (
                "GPU-5a1f0f3c-aaaa-bbbb-cccc-000000000000",
                "GPU-5a1f0f3c-aaaa-bbbb-cccc-000000000001",
            ),
        ),
        (ONE_CUT_IN_SLICES, ("MIG-a", "MIG-b", "GPU-1")),
        ("No devices found.\n", ()),
    ],
)
def test_gpus_are_named_as_cuda_names_them(text: str, names: tuple[str, ...]) -> None:
    assert parse_gpus(text) == names


def fake_nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_gpus_are_asked_for_and_a_choice_made_before_is_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nvidia_smi(tmp_path, monkeypatch, f"cat <<END\n{TWO_GPUS}END")

    assert len(find_gpus({})) == 2
    assert find_gpus({"CUDA_VISIBLE_DEVICES": "1"}) == ("1",)
    assert find_gpus({"CUDA_VISIBLE_DEVICES": ""}) == ()


def test_an_nvidia_smi_that_fails_means_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nvidia_smi(tmp_path, monkeypatch, "echo no driver; exit 9")

    assert find_gpus({}) == ()


def test_this_machine_has_cores_and_memory() -> None:
    machine = inspect({}, with_gpus=False)

    assert 1 <= machine.cores <= len(os.sched_getaffinity(0))
    assert machine.mem_mib > 100
    assert machine.gpus == ()


def test_cpu_runs_get_a_slot_per_core_and_see_no_gpu() -> None:
    plan = plan_slots(Resources(), MACHINE, most=100)

    assert (plan.slots, plan.devices, plan.notes) == (4, ("",), ())


@pytest.mark.parametrize(
    ("gpus", "devices"),
    [(1, ("GPU-a", "GPU-b", "GPU-c")), (2, ("GPU-a,GPU-b",)), (3, ("GPU-a,GPU-b,GPU-c",))],
)
def test_gpu_runs_get_a_slot_for_each_group_of_gpus(gpus: int, devices: tuple[str, ...]) -> None:
    plan = plan_slots(Resources(gpus=gpus), MACHINE, most=100)

    assert (plan.slots, plan.devices) == (len(devices), devices)


def test_slots_asked_for_count_more_than_the_cores() -> None:
    assert plan_slots(Resources(), MACHINE, most=100, asked=9).slots == 9
    assert plan_slots(Resources(gpus=1), MACHINE, most=100, asked=6).devices == (
        "GPU-a",
        "GPU-b",
        "GPU-c",
    )


def test_more_gpus_than_there_are_is_refused() -> None:
    with pytest.raises(
        SchedulerError, match="gpus: 4 per run asked for, this machine has 3; ask for at most 3"
    ):
        plan_slots(Resources(gpus=4), MACHINE, most=100)


def test_a_grid_for_gpus_on_a_machine_without_is_told_loudly_and_runs_on_its_cores() -> None:
    plan = plan_slots(Resources(gpus=1), NO_GPU, most=100)

    assert (plan.slots, plan.devices) == (4, ("",))
    assert plan.notes == (
        "NO GPU HERE: the grid asks for 1 per run and nvidia-smi "
        "finds none; the runs train on the CPU, 4 at a time",
    )


def test_memory_that_may_not_suffice_is_told_with_the_slots_that_would_fit() -> None:
    plan = plan_slots(Resources(mem_mib=3000), NO_GPU, most=100)

    assert len(plan.notes) == 1
    assert plan.notes[0].endswith("this machine has 8000 MiB; with --slots 2 they fit for sure")


def test_cores_that_a_run_would_not_use_are_told() -> None:
    assert plan_slots(Resources(cpus=4), NO_GPU, most=100).notes == (
        "cpus: 4 changes nothing on this machine: a run trains with one thread, 4 at a time",
    )
