"""Where and how runs are to be carried out: the choice that submit and retry share, and its command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from anlp.core.command import whole_number
from anlp.core.errors import UserError
from jobs.common.units import parse_memory, parse_walltime
from jobs.config.fields import COUNTS
from jobs.config.packing import Packing
from jobs.containers.image import ImageChoice, choose_image
from jobs.runs.options import SubmitOptions
from jobs.schedulers import registry
from jobs.schedulers.profiles import is_profile_path, load_profile

NAMED_RESOURCES = (
    *("gpus", "cpus", "queue", "account", "qos"),
    *("gpu_type", "constraint", "exclude", "nodes"),
)
Number = TypeVar("Number", int, float)


def add_submit_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where and how, shared by submit and retry."""
    group = parser.add_argument_group("where and how")
    group.add_argument(
        "--on", default="auto", metavar="NAME", help=f"scheduler: {', '.join(registry.NAMES)}"
    )
    group.add_argument(
        "--slots",
        type=whole_number(1),
        metavar="N",
        help="local: runs at a time (default: one per core or GPU)",
    )
    group.add_argument("--time", metavar="T", help="time limit of each run, such as 30m or 2h")
    group.add_argument("--mem", metavar="M", help="memory limit of each run, such as 8G")
    group.add_argument("--gpus", type=whole_number(0), metavar="N", help="GPUs of each run")
    group.add_argument("--cpus", type=whole_number(1), metavar="N", help="CPUs of each run")
    group.add_argument(
        "--queue", "--partition", metavar="Q", help="queue (PBS) or partition (Slurm)"
    )
    group.add_argument("--account", metavar="A", help="account or project that pays")
    group.add_argument("--qos", metavar="Q", help="Slurm: quality of service")
    group.add_argument("--gpu-type", metavar="T", help="kind of GPU, as the site names it")
    group.add_argument("--constraint", metavar="F", help="features that a node must have")
    group.add_argument("--exclude", metavar="NODES", help="Slurm: nodes not to use")
    group.add_argument(
        "--nodes",
        type=whole_number(1),
        metavar="N",
        help="Slurm: nodes of each job (a run uses one)",
    )
    group.add_argument(
        "--extra",
        action="append",
        metavar="OPTION",
        help="one more option of the scheduler: --extra=--nice=50",
    )
    group.add_argument("--profile", metavar="P", help="site profile: a name, or a file")
    group.add_argument(
        "--max-parallel",
        type=whole_number(1),
        metavar="N",
        help="clusters: at most N jobs at a time",
    )
    group.add_argument(
        "--pack",
        type=whole_number(*COUNTS["pack"]),
        metavar="N",
        help="runs that share a GPU and a job at the same time",
    )
    group.add_argument(
        "--chain",
        type=whole_number(*COUNTS["chain"]),
        metavar="N",
        help="clusters: runs one after the other in one job",
    )
    group.add_argument(
        "--canary", action="store_true", help="one run of each model first, the rest if they pass"
    )
    group.add_argument(
        "--retries",
        type=whole_number(*COUNTS["retries"]),
        metavar="N",
        help="repeat a run by itself where its machine ended it",
    )
    group.add_argument(
        "--stop-after",
        type=whole_number(*COUNTS["stop_after"]),
        metavar="K",
        help="hold the rest back once K runs in a row failed alike (0: never)",
    )
    group.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), help="device of the runs (default: auto)"
    )
    group.add_argument(
        "--container", metavar="IMAGE", help="the Apptainer image that runs are carried out in"
    )
    group.add_argument(
        "--no-container", action="store_true", help="without one, whatever grid and profile say"
    )
    group.add_argument(
        "--live", action="store_true", help="with this checkout's code over the image's"
    )
    group.add_argument(
        "--predictions",
        action="store_true",
        help="write what each model says about the test set, for charts",
    )
    group.add_argument(
        "--wandb", choices=("auto", "online", "offline", "disabled"), help="wandb mode of the runs"
    )
    group.add_argument("-q", "--quiet", action="store_true", help="no live progress")


def override(target: SubmitOptions, args: argparse.Namespace) -> SubmitOptions:
    """`target` with what was given on the command line."""
    resources, options = target.resources, target.options
    if args.time is not None:
        resources = replace(resources, walltime_min=parsed("--time", parse_walltime, args.time))
    if args.mem is not None:
        resources = replace(resources, mem_mib=parsed("--mem", parse_memory, args.mem))
    profile = args.profile or _remembered(target.profile, args.on)
    named = {name: getattr(args, name) for name in NAMED_RESOURCES}
    resources = replace(
        resources, **{name: value for name, value in named.items() if value is not None}
    )
    if args.extra:
        resources = replace(resources, extra=(*resources.extra, *args.extra))
    if args.device is not None:
        options = replace(options, device=args.device)
    if args.retries is not None:
        options = replace(options, retries=args.retries)
    if args.stop_after is not None:
        options = replace(options, stop_after=args.stop_after)
    if args.predictions:
        options = replace(options, predictions=True)
    if args.wandb is not None:
        options = replace(options, wandb=replace(options.wandb, mode=args.wandb))
    return replace(
        target,
        image=_image(target, args, profile),
        on=args.on,
        slots=args.slots,
        resources=resources,
        options=options,
        max_parallel=args.max_parallel or target.max_parallel,
        profile=_lasting(profile),
        quiet=args.quiet,
        canary=args.canary,
        packing=Packing(args.pack or target.packing.pack, args.chain or target.packing.chain),
    )


def _remembered(profile: str | None, on: str) -> str | None:
    """The profile of the last submission, unless this one goes elsewhere."""
    return profile if profile and on in ("auto", load_profile(profile).scheduler) else None


def _lasting(profile: str | None) -> str | None:
    """The name of a profile, or the whole path of its file: a retry reads it again, from wherever that is called."""
    return str(Path(profile).resolve()) if profile and is_profile_path(profile) else profile


def _image(
    target: SubmitOptions, args: argparse.Namespace, profile: str | None
) -> ImageChoice | None:
    """The command line goes before the grid, the grid before the profile."""
    if args.no_container and (args.container or args.live):
        raise UserError("--no-container: contradicts --container and --live; leave one out")
    site = None if profile is None else load_profile(profile)
    wishes = (
        "" if args.no_container else args.container,
        target.container,
        site and site.container,
    )
    path = next((wish for wish in wishes if wish is not None), "")
    if not path:
        if args.live:
            raise UserError(
                "--live: puts this checkout's code over an image's; name one with --container"
            )
        return None
    return choose_image(path, is_live=args.live or target.is_live, binds=site.binds if site else ())


def parsed(option: str, parse: Callable[[str], Number], text: str) -> Number:
    """What `parse` makes of the text of an option; its fault as a sentence that names the option."""
    try:
        return parse(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None
