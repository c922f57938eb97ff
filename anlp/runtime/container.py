"""Whether this process runs inside an image, and what a run's provenance says of it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from anlp.records.options import ContainerOptions

LIVE = Path(
    "/opt/live"
)  # of the image: where the working tree is put over the code that is baked in
LARGE_BYTES = 16_000_000
VARIABLES = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")  # set inside, to the image's path


def image_of(environment: Mapping[str, str]) -> str:
    """Return the image that this process runs in; empty where it runs on the machine itself."""
    return next((environment[name] for name in VARIABLES if environment.get(name)), "")


def preload_libraries(maps: Path = Path("/proc/self/maps")) -> None:
    """Reads the smaller libraries of this process, so that it can still use them when nobody mounts the image any more.

    A signal to the whole job ends the process that does; whatever code is touched for the first
    time after that is a bus error. Of the large libraries only parts are used, and the first
    checkpoint has used those.
    """
    lines = (line.split(maxsplit=5) for line in maps.read_text().splitlines())
    for path in {Path(words[5]) for words in lines if len(words) == 6 and words[5].startswith("/")}:
        with contextlib.suppress(OSError):  # what was deleted since, and devices
            if path.is_file() and path.stat().st_size <= LARGE_BYTES:
                path.read_bytes()


def exit_process(code: int, environment: Mapping[str, str]) -> NoReturn:
    """Ends this process; in an image without the interpreter's own tidying up, whose code nothing used before."""
    if image_of(environment):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)


def provenance(
    submitted: ContainerOptions | None, environment: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return the entry `container` where there is one: what submit knew of the image, and which code is really executed.

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
