"""Checks on the login node whether an image can run what is about to be submitted."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from anlp.core.errors import UserError
from anlp.core.files import make_folder
from anlp.records.options import ContainerOptions
from anlp.tasks import TASKS
from jobs.common import external
from jobs.common.git import HERE, code_commit
from jobs.containers.apptainer import LIVE, PROGRAMS, Bind, Container, binds_of, parse_bind
from jobs.containers.sif import MEMORY, read_digest, require_whole
from jobs.containers.site_image import check_site_image, wanted_by
from jobs.containers.trial import check_command, check_start

UNKNOWN = "unknown"
OLDEST = {"apptainer": (1, 1), "singularity": (3, 10)}  # that know --no-eval
OF_ONE_MACHINE = ("/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108 - nothing is written there
BUILD = "containers/build.sh builds one, --no-container runs without"


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """The image that was asked for, and whether the working tree goes over its code."""

    path: Path
    is_live: bool = False
    binds: tuple[str, ...] = ()  # of the site's profile


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What a run's provenance says of the image it was submitted with."""

    path: Path
    program: str  # "apptainer 1.4.5"
    sha256: str  # empty for an unpacked image, which has none
    labels: Mapping[str, str]
    is_live: bool

    def for_options(self) -> ContainerOptions:
        """Return what a run's options record of the image."""
        commit = self.labels.get("anlp.commit", UNKNOWN)
        mode: Literal["baked", "live"] = "live" if self.is_live else "baked"
        return ContainerOptions(str(self.path), self.program, self.sha256, commit, mode)

    @property
    def is_of_site(self) -> bool:
        """Return whether the image is none of this project, which labels its own."""
        return "anlp.commit" not in self.labels


def choose_image(path: str, *, is_live: bool = False, binds: tuple[str, ...] = ()) -> ImageChoice:
    """Return the choice of an image by its path, relative to where the command is typed.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    image = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - links stay, `..` goes, as inside the image
    where = (
        f"{image}"
        if Path(path).expanduser().is_absolute()
        else f"{image} ({path} from where the command is typed)"
    )
    if not os.path.lexists(image.parent) or not os.access(image.parent, os.X_OK):
        raise UserError(f"container: {where}: its folder is not there, or closed to you; {BUILD}")
    if not image.exists():
        raise UserError(f"container: {where}: no such image; {BUILD}")
    if not os.access(image, os.R_OK) or (image.is_dir() and not os.access(image, os.X_OK)):
        raise UserError(
            f"container: {image}: cannot be read; chmod a+r it, or take a copy of your own"
        )
    return ImageChoice(image, is_live, binds)


def inspect_image(choice: ImageChoice, memory: Path | None = None) -> ImageFacts:
    """Return what the image says of itself; its checksum (about a second per GB) is computed once.

    Args:
        choice: the image.
        memory: the file with the checksums of images that were read before; None: every time anew.

    Raises:
        UserError: there is no Apptainer here, or the file is no image, or not a whole one.
    """
    program, version = find_program()
    labels = _read_labels(program, choice.path)
    digest = ""
    if not choice.path.is_dir():
        require_whole(choice.path)
        digest = read_digest(choice.path, memory)
    return ImageFacts(choice.path, f"{program} {version}", digest, labels, choice.is_live)


def make_container(
    choice: ImageChoice,
    facts: ImageFacts,
    *,
    runs: Path,
    data: Path,
    has_gpus: bool,
    folders: Collection[Path] = (),
) -> Container:
    """Return the image with the folders that runs need bound into it, and nothing missing.

    Args:
        choice: the image.
        facts: what is known of it.
        runs: the grid's folder; runs start there.
        data: where data sets are; bound if it is there.
        has_gpus: whether runs ask for GPUs.
        folders: others that runs need.

    Raises:
        UserError: something that is to be bound does not exist.
    """
    make_folder(runs)
    tree = [Bind(HERE / "anlp", LIVE, read_only=True)] if choice.is_live else []
    needed = [runs, *([data] if data.is_dir() else []), *folders]
    container = Container(
        choice.path,
        facts.program.split()[0],
        (*_site_binds(choice), *binds_of(path.absolute() for path in needed), *tree),
        runs.absolute(),
        has_gpus,
        is_of_site=facts.is_of_site,
    )
    for bind in container.binds:
        bind.render()
        if not bind.source.exists():
            raise UserError(
                f"container: {bind.source}: does not exist, so it cannot be bound; "
                "look at binds: in the profile"
            )
    return container


def warnings(
    facts: ImageFacts,
    commit: str,
    *,
    has_gpus: bool,
    leaves_machine: bool,
    tasks: Collection[str] = (),
) -> Iterator[str]:
    """Yield what does not stop a submission, but should be known before it.

    Args:
        facts: of the image.
        commit: of the code that submits.
        tasks: of the runs.
        has_gpus: whether runs ask for GPUs.
        leaves_machine: whether nodes will open the image.
    """
    baked = facts.labels.get("anlp.commit", UNKNOWN)
    if not facts.is_live and not facts.is_of_site and commit and baked != commit:
        yield (
            f"{facts.path.name} holds commit {_short(baked)}, this checkout is at "
            f"{_short(commit)}: the runs execute what is in the image; build it anew, or use --live"
        )
    if has_gpus and facts.labels.get("anlp.variant") == "cpu":
        yield (
            f"{facts.path.name} has torch for CPUs only, and the runs ask for GPUs; "
            "build it without --cpu"
        )
    for package in facts.labels.get("anlp.without", "").split():
        built_in = set(tasks) & set(TASKS)
        touched = sorted(task for task in built_in if package in TASKS[task].settings.needs)
        if touched:
            yield (
                f"{facts.path.name} was built without {package}: "
                f"runs of {', '.join(touched)} that need it will fail"
            )
    if leaves_machine:
        yield from _warn_of_place(facts.path)


def _warn_of_place(image: Path) -> Iterator[str]:
    place = next((place for place in OF_ONE_MACHINE if image.is_relative_to(place)), None)
    if place:
        yield f"{image} is in {place}, which nodes may not see; put it on a shared file system"


def find_program() -> tuple[str, str]:
    """Return `apptainer`, or `singularity` where that is missing, and its version.

    Raises:
        UserError: neither is here, or it is too old.
    """
    for program in PROGRAMS:
        answer = external.run([program, "--version"], timeout_s=20)
        if answer.code != 0:
            continue
        match = re.search(r"^(\S+) version (\S+)", answer.out, re.MULTILINE)
        if match is None:
            raise UserError(
                f"container: `{program} --version` says {answer.out.strip()[:60]!r}, "
                "which is no version"
            )
        kind, version = match.groups()  # `singularity` may be a name of Apptainer
        numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
        oldest = OLDEST["apptainer" if kind == "apptainer" else "singularity"]
        if numbers < oldest:
            wanted = ".".join(map(str, oldest))
            raise UserError(
                f"container: {kind} {version} is too old, {wanted} is needed; "
                "--no-container runs without"
            )
        return program, version
    raise UserError(
        "container: neither apptainer nor singularity answers here; load its module "
        "(module load apptainer), or run without: --no-container"
    )


def _read_labels(program: str, image: Path) -> Mapping[str, str]:
    answer = external.run([program, "inspect", "--json", "--labels", str(image)], timeout_s=60)
    try:
        attributes = json.loads(answer.out)["data"]["attributes"] if answer.code == 0 else {}
        labels = attributes.get("labels", {}) or {} if answer.code == 0 else None
    except (ValueError, KeyError, TypeError, AttributeError):
        labels = None
    if not isinstance(labels, dict):
        said = answer.err.strip().splitlines()[-1:] or ["no labels"]
        raise UserError(
            f"container: {image}: not an image that {program} can read ({said[0]}); {BUILD}"
        )
    return {str(name): str(value) for name, value in labels.items()}


def _site_binds(choice: ImageChoice) -> tuple[Bind, ...]:
    try:
        return tuple(parse_bind(text) for text in choice.binds)
    except ValueError as error:
        raise UserError(f"profile: binds: {error}") from None


def _short(commit: str) -> str:
    """Return twelve digits of a commit, with the mark of a changed tree."""
    name, plus, changed = commit.partition("+")
    return name[:12] + plus + changed


@dataclass(frozen=True, slots=True)
class ImageUse:
    """What a submission wants of its image.

    Args:
        runs: the grid's folder.
        data: where data sets are.
        has_gpus: whether runs ask for GPUs.
        leaves_machine: whether nodes will open the image.
        tasks: of the runs.
        folders: others that runs need.
        has_wandb: whether runs mirror themselves to wandb.
        node_packages: that the scheduler's own code on the node imports.
    """

    runs: Path
    data: Path
    has_gpus: bool
    leaves_machine: bool
    tasks: frozenset[str]
    folders: tuple[Path, ...] = ()
    has_wandb: bool = False
    node_packages: tuple[str, ...] = ()


def prepare_image(
    choice: ImageChoice, use: ImageUse, say: Callable[[str], None]
) -> tuple[Container, ImageFacts]:
    """Return the container of a submission, after all checks that are possible here.

    Args:
        choice: the image.
        use: what it is wanted for.
        say: gets warnings.

    Raises:
        UserError: the image, the program or a folder is missing or unsuitable.
    """
    facts = inspect_image(choice, use.runs.parent / MEMORY)
    container = make_container(
        choice,
        facts,
        runs=use.runs,
        data=use.data,
        has_gpus=use.has_gpus,
        folders=use.folders,
    )
    for text in warnings(
        facts,
        code_commit(),
        has_gpus=use.has_gpus,
        leaves_machine=use.leaves_machine,
        tasks=use.tasks,
    ):
        say(f"warning: {text}")
    if facts.is_of_site:
        wanted = wanted_by(
            use.tasks,
            has_wandb=use.has_wandb,
            more=use.node_packages,
            is_here=not use.leaves_machine,
        )
        check_site_image(container, wanted, say)
    else:
        check_start(container)
    return container, facts


def prepare_own_image(
    choice: ImageChoice, use: ImageUse, word: str, say: Callable[[str], None]
) -> tuple[Container, ImageFacts]:
    """Return the container of a program of the user's own, which needs nothing of this project.

    Args:
        choice: the image.
        use: what it is wanted for.
        word: the first one of the program's command; empty: not known here.
        say: gets warnings.

    Raises:
        UserError: the image, the program or a folder is missing or unsuitable.
    """
    if choice.is_live:
        raise UserError(
            "--live: a program of your own executes its own code, and its image holds none of this "
            "project; leave --live out"
        )
    facts = inspect_image(choice, use.runs.parent / MEMORY)
    container = make_container(
        choice,
        facts,
        runs=use.runs,
        data=use.data,
        has_gpus=use.has_gpus,
        folders=use.folders,
    )
    if use.leaves_machine:
        for text in _warn_of_place(facts.path):
            say(f"warning: {text}")
    check_command(container, word)
    return container, facts
