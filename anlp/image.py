"""Whether this process runs inside an image, and what a run's provenance says of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from anlp.record import ContainerOptions

LIVE = Path("/opt/live")  # of the image: where the working tree is put over the code that is baked in
VARIABLES = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")  # set inside, to the image's path


def image_of(environment: Mapping[str, str]) -> str:
    """The image that this process runs in; empty where it runs on the machine itself."""
    return next((environment[name] for name in VARIABLES if environment.get(name)), "")


def provenance(submitted: ContainerOptions | None, environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The entry `container` where there is one: what submit knew of the image, and which code is really executed.

    Args:
        submitted: of the run's options.
        environment: of this process.
    """
    image = image_of(environment)
    if not image:
        return {}
    mode = "live" if Path(__file__).is_relative_to(LIVE) else "baked"
    known = submitted.to_json() if submitted is not None and submitted.image == image else {}
    return {"container": {**known, "image": image, "mode": mode}}
