"""How a submission is carried out: scheduler, resources, packing, image."""

from __future__ import annotations

from dataclasses import dataclass, field

from anlp.console.verbs import command_name
from anlp.core.errors import UserError
from anlp.records.batches import read_batch
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions, options_from_json
from jobs.config.packing import Packing
from jobs.config.resources import Resources
from jobs.containers.image import ImageChoice
from jobs.runs.journal import Journal


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """Where and how runs are to be carried out."""

    on: str = "auto"
    slots: int | None = None  # local: runs at a time; None: as many as its cores or GPUs allow
    resources: Resources = field(default_factory=Resources)
    options: RunOptions = field(default_factory=RunOptions)
    max_parallel: int | None = None  # clusters: at most so many at a time
    profile: str | None = None  # of the site
    quiet: bool = False
    packing: Packing = field(default_factory=Packing)
    canary: bool = False  # one configuration of each model goes first, the rest if it passes
    container: str | None = None  # path of an image; "": none, even if the profile names one
    is_live: bool = False  # the working tree replaces the image's code
    image: ImageChoice | None = None  # what follows from these and the profile


def last_options(folder: GridFolder) -> SubmitOptions:
    """Return how the grid was submitted last: options, resources, jobs at a time, profile.

    Raises:
        UserError: nothing of this grid was ever submitted.
    """
    submissions = list(Journal(folder).submissions().values())
    if not submissions:
        raise UserError(
            f"{folder.name}: nothing was submitted yet; {command_name('jobs.submit')} FILE.yaml"
        )
    lines = read_batch(folder.path / submissions[-1].batch)
    options = options_from_json(lines[0].options) if lines else RunOptions()
    image = options.container
    return SubmitOptions(
        options=options,
        resources=submissions[-1].each,
        profile=submissions[-1].profile,
        max_parallel=submissions[-1].max_parallel,
        container="" if image is None else image.image,
        is_live=image is not None and image.mode == "live",
    )
