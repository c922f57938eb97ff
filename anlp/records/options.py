"""Options of a run: how it is carried out. None of them is part of its id."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from anlp.core.checked import make


@dataclass(frozen=True, slots=True)
class WandbOptions:
    """How runs mirror themselves to wandb; the key is never among them."""

    # auto: online with a key, offline without
    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    project: str = "anlp"
    entity: str | None = None
    group: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerOptions:
    """The image that runs were submitted with."""

    image: str  # its path
    program: str = ""  # that inspected it: "apptainer 1.4.5"
    sha256: str = ""  # empty for an unpacked image, which has none
    image_commit: str = ""  # git commit of the code in it
    # live: the working tree of the submission goes over that code
    mode: Literal["baked", "live"] = "baked"

    def to_json(self) -> dict[str, str]:
        """Return the form in a run's options and in its provenance."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is carried out.

    No option changes what the run is or its numbers, so none is part of its id.
    """

    data_dir: str = "data"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_every: int = 1  # epochs
    keep: Literal["none", "best", "last"] = "best"  # which weights stay when the run is done
    predictions: bool = False  # whether `predictions.npz` is written when the run is done
    purpose: Literal["search", "confirm"] = "search"
    batch: str = ""  # tag of the submission, which the result carries
    # which results of earlier submissions are set aside and repeated
    redo: Literal["none", "failed", "all"] = "none"
    # so many runs of the submission that fail alike hold back the rest of it; 0: none do
    stop_after: int = 0
    retries: int = 0  # how often a run that its machine ended is submitted again automatically
    commit: str = ""  # git commit of the submitted code, with "+dirty" if the tree was
    container: ContainerOptions | None = None  # the image it was submitted with
    program: str = ""  # digest of the user's own code (`anlp.records.program`); empty: none
    varying: tuple[str, ...] = ()  # settings that vary in the grid, for names in wandb
    digits: int = 0  # significant digits that tell their values apart; 0: as they stand
    wandb: WandbOptions = field(default_factory=WandbOptions)

    def to_json(self) -> dict[str, Any]:
        """Return the form in batch files and `spec.json`."""
        form = {name: getattr(self, name) for name in self.__slots__ if name != "wandb"}
        form["varying"] = list(self.varying)
        form["container"] = None if self.container is None else self.container.to_json()
        mirror = {name: getattr(self.wandb, name) for name in self.wandb.__slots__}
        return {**form, "wandb": {**mirror, "tags": list(self.wandb.tags)}}


def options_from_json(form: Any) -> RunOptions:
    """Inverse of `RunOptions.to_json`; names that this version does not know are ignored.

    Raises:
        ValueError: not the form of options; `describe_fault` says what is wrong.
    """
    if isinstance(form, dict) and form.get("container") == {}:
        form = {**form, "container": None}
    return make(RunOptions, form)
