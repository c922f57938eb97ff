"""Where and how runs are to be carried out: the choice that submit and retry share, and its command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from anlp.core.command import whole_number
from anlp.core.errors import UserError
from jobs.config.fields import COUNTS
from jobs.config.packing import Packing
from jobs.config.resources import ASKED, Resources
from jobs.containers.image import ImageChoice, choose_image
from jobs.runs.options import SubmitOptions
from jobs.schedulers import registry
from jobs.schedulers.profiles import is_profile_path, load_profile

Number = TypeVar("Number", int, float)


def add_submit_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where and how, shared by submit and retry."""
    group = parser.add_argument_group("where and how")
    group.add_argument(
        "--on",
        default="auto",
        metavar="NAME",
        help=f"scheduler: {', '.join(registry.NAMES)}, or one that another package adds",
    )
    group.add_argument(
        "--slots",
        type=whole_number(1),
        metavar="N",
        help="local: runs at a time (default: one per core or GPU)",
    )
    _add_resources(group)
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


def _add_resources(group: argparse._ArgumentGroup) -> None:
    """Add an option for each field of `Resources`."""
    for name, asked in ASKED.items():
        with_it = registry.titles_with(name)
        where = f"{', '.join(with_it)}: " if with_it else ""
        if name == "extra":
            group.add_argument(
                *asked.flags, action="append", metavar=asked.metavar, help=where + asked.help
            )
            continue
        group.add_argument(
            *asked.flags,
            type=str if asked.least is None else whole_number(asked.least),
            metavar=asked.metavar,
            help=where + asked.help,
        )


def _override_resources(resources: Resources, args: argparse.Namespace) -> Resources:
    """Return `resources` with the options of the command line; `extra` adds to what there is."""
    for name, asked in ASKED.items():
        value = getattr(args, asked.dest)
        if value is None:
            continue
        if asked.parse is not None:
            value = parsed(asked.flags[0], asked.parse, value)
        if name == "extra":
            value = (*resources.extra, *value)
        resources = replace(resources, **{name: value})
    return resources


def override(target: SubmitOptions, args: argparse.Namespace) -> SubmitOptions:
    """`target` with what was given on the command line."""
    options = target.options
    profile = args.profile or _remembered(target.profile, args.on)
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
        resources=_override_resources(target.resources, args),
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
