"""Where and how runs are carried out: the options that submit and retry share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from anlp.console.command import whole_number
from anlp.core.errors import UserError
from anlp.records.options import RunOptions
from jobs.config.fields import COUNTS
from jobs.config.packing import Packing
from jobs.config.resources import ASKED, Resources
from jobs.containers.image import ImageChoice, choose_image
from jobs.runs.options import SubmitOptions
from jobs.schedulers import registry
from jobs.schedulers.profiles import is_profile_path, load_profile

Number = TypeVar("Number", int, float)


def add_submit_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say where and how, shared by submit and retry."""
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
        "--no-container",
        action="store_true",
        help="without one, even if the grid or profile names one",
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


@dataclass(frozen=True, slots=True)
class Overrides:
    """What one command says about where and how; None and False leave what the grid says."""

    on: str = "auto"
    slots: int | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)  # fields of `Resources` by name
    extra: tuple[str, ...] = ()  # beside the grid's own
    profile: str | None = None
    max_parallel: int | None = None
    pack: int | None = None
    chain: int | None = None
    canary: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)  # fields of `RunOptions` by name
    wandb: Literal["auto", "online", "offline", "disabled"] | None = None  # its mode
    container: str | None = None  # "": none, even if grid or profile name one
    live: bool = False
    quiet: bool = False


def read_overrides(args: argparse.Namespace) -> Overrides:
    """Return what the arguments of `add_submit_arguments` say.

    Raises:
        UserError: a size or a time cannot be read, or two arguments contradict each other.
    """
    if args.no_container and (args.container or args.live):
        raise UserError("--no-container: contradicts --container and --live; leave one out")
    options = _given(args, ("device", "retries", "stop_after"))
    if args.predictions:
        options["predictions"] = True
    return Overrides(
        on=args.on,
        slots=args.slots,
        resources=_read_resources(args),
        extra=tuple(args.extra or ()),
        profile=args.profile,
        max_parallel=args.max_parallel,
        pack=args.pack,
        chain=args.chain,
        canary=args.canary,
        options=options,
        wandb=args.wandb,
        container="" if args.no_container else args.container,
        live=args.live,
        quiet=args.quiet,
    )


def _read_resources(args: argparse.Namespace) -> dict[str, Any]:
    """Return the given fields of `Resources`, but for `extra`, which is added to the grid's own."""
    found = {}
    for name, asked in ASKED.items():
        value = getattr(args, asked.dest)
        if value is None or name == "extra":
            continue
        if asked.parse is not None:
            value = parsed(asked.flags[0], asked.parse, value)
        found[name] = value
    return found


def _given(args: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    found = {}
    for name in names:
        value = getattr(args, name)
        if value is not None:
            found[name] = value
    return found


def override(target: SubmitOptions, given: Overrides) -> SubmitOptions:
    """Return `target` with what was given over it.

    Raises:
        UserError: there is no such profile or image.
    """
    profile = given.profile or _remembered(target.profile, given.on)
    return replace(
        target,
        image=_image(target, given, profile),
        on=given.on,
        slots=given.slots,
        resources=override_resources(target.resources, given),
        options=_override_options(target.options, given),
        max_parallel=given.max_parallel or target.max_parallel,
        profile=_lasting(profile),
        quiet=given.quiet,
        canary=given.canary,
        packing=Packing(given.pack or target.packing.pack, given.chain or target.packing.chain),
    )


def override_resources(resources: Resources, given: Overrides) -> Resources:
    """Return `resources` with what was given over them."""
    return replace(resources, **given.resources, extra=(*resources.extra, *given.extra))


def _override_options(options: RunOptions, given: Overrides) -> RunOptions:
    options = replace(options, **given.options)
    if given.wandb is not None:
        options = replace(options, wandb=replace(options.wandb, mode=given.wandb))
    return options


def _remembered(profile: str | None, on: str) -> str | None:
    """Return the profile of the last submission, unless this one goes elsewhere."""
    return profile if profile and on in ("auto", load_profile(profile).scheduler) else None


def _lasting(profile: str | None) -> str | None:
    """Return a profile's name, or its file's full path: a retry may run in another folder."""
    return str(Path(profile).resolve()) if profile and is_profile_path(profile) else profile


def names_image(given: Overrides) -> bool | None:
    """Return whether a command, or the profile that it names, asks for an image; None: neither."""
    if given.container is not None:
        return bool(given.container)
    return True if given.profile and load_profile(given.profile).container else None


def _image(target: SubmitOptions, given: Overrides, profile: str | None) -> ImageChoice | None:
    """Return the image: the command line goes before the grid, the grid before the profile."""
    site = None if profile is None else load_profile(profile)
    path = given.container
    if path is None:
        path = target.container
    if path is None and site is not None:
        path = site.container
    if path:
        binds = site.binds if site else ()
        return choose_image(path, is_live=given.live or target.is_live, binds=binds)
    if given.live:
        raise UserError(
            "--live: puts this checkout's code over an image's; name one with --container"
        )
    return None


def parsed(option: str, parse: Callable[[str], Number], text: str) -> Number:
    """Return what `parse` makes of an option's text.

    Raises:
        UserError: `parse` refuses it; the message names the option.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None
