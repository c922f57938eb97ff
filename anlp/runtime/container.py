"""Whether this process runs in an image, and the image's part of a run's provenance."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from anlp.records.options import ContainerOptions

LIVE = Path("/opt/live")  # in the image: where the working tree goes over the code of the image
LARGE_BYTES = 16_000_000
VARIABLES = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")  # set inside, to the image's path


def image_of(environment: Mapping[str, str]) -> str:
    """Return the image that this process runs in; empty outside an image."""
    return next((environment[name] for name in VARIABLES if environment.get(name)), "")


def preload_libraries(maps: Path = Path("/proc/self/maps")) -> None:
    """Read the smaller libraries of this process, to be independent of the mounted image.

    A signal to the whole job also ends the process that mounts the image; code that is touched for
    the first time after that is a bus error. Of the large libraries only parts are used, and the
    first checkpoint has used those.
    """
    lines = (line.split(maxsplit=5) for line in maps.read_text(encoding="utf-8").splitlines())
    for path in {Path(words[5]) for words in lines if len(words) == 6 and words[5].startswith("/")}:
        with contextlib.suppress(OSError):  # what was deleted since, and devices
            if path.is_file() and path.stat().st_size <= LARGE_BYTES:
                path.read_bytes()


def exit_process(code: int, environment: Mapping[str, str]) -> NoReturn:
    """End this process; in an image without the interpreter's cleanup, whose code is not loaded."""
    if image_of(environment):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)


def provenance(
    submitted: ContainerOptions | None, environment: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return the entry `container` where there is an image: its origin, and which code is executed.

    Args:
        submitted: what submit knew of the image.
        environment: of this process.
    """
    image = image_of(environment)
    if not image:
        return {}
    mode = "live" if Path(__file__).is_relative_to(LIVE) else "baked"
    known = submitted.to_json() if submitted is not None and submitted.image == image else {}
    return {"container": {**known, "image": image, "mode": mode}}
