"""Programs in an Apptainer image of the user's own: only the program itself is inside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from anlp.programs.process import Ended
from anlp.records.crash import CrashRecord
from anlp.records.image_variables import NAMES, passing, variable_prefix
from anlp.records.program import Program
from anlp.records.results import RunError

EXIT_NOT_STARTED = 255  # of Apptainer itself, with a line that begins with FATAL: on stderr
NOT_STARTED = "never started"  # a value of `jobs.schedulers.base.Cause`
_FATAL = re.compile(r"^FATAL:\s+(.*)$", re.MULTILINE)
# the image has started, and the command is what is wrong
_OF_COMMAND = re.compile(
    r"executable file not found in \$PATH|^permission denied$|^exec format error$"
    r"|^no such file or directory$"
)
_NO_USER_SITE = "PYTHONNOUSERSITE"  # `$HOME` is mounted: `~/.local` would go before the image
_OWN = ("PYTHONUNBUFFERED",)


def in_image(program: Program, workdir: Path, command: Sequence[str]) -> list[str]:
    """Return the words that start a command in the program's image; the command where it has none.

    Args:
        program: with the words of the image, the last of which is its path.
        workdir: where the command starts.
        command: its words.
    """
    if not program.container:
        return list(command)
    *options, image = program.container
    return [*options, "--pwd", str(workdir), image, *command]


def image_environment(program: Program, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of Apptainer for a program; unchanged where it has no image."""
    if not program.container:
        return dict(environment)
    apptainer = program.container[0]
    found = passing(apptainer, environment, program.container_prefixes, (*NAMES, *_OWN))
    found.setdefault(variable_prefix(apptainer) + _NO_USER_SITE, "1")
    bound = f"{Path(apptainer).name.upper()}_BIND"
    folder = environment.get("TMPDIR", "")
    if _is_to_bind(folder):
        found[bound] = ",".join(part for part in (environment.get(bound), folder) if part)
    return found


def _is_to_bind(folder: str) -> bool:
    """Tell whether a temporary folder is the job's own, which no image has."""
    is_plain = folder.startswith("/") and not re.search(r"[,:]", folder)
    is_shared = folder == "/tmp" or folder.startswith("/tmp/")  # noqa: S108 - it is mounted anyway
    return is_plain and not is_shared and Path(folder).is_dir()


def why_not_started(ended: Ended) -> RunError | CrashRecord | None:
    """Return why Apptainer did not start the program; None where it did.

    A command that the image does not have is the grid's fault; what else prevents a start may be
    the node's, and the run is lost.
    """
    told = _FATAL.findall(ended.last_stderr)
    if ended.code != EXIT_NOT_STARTED or not told:
        return None
    sentence = told[-1].strip()
    if _OF_COMMAND.search(sentence):
        return RunError("NotStarted", f"in its image: {sentence}", "")
    return CrashRecord(NOT_STARTED, f"its image did not start: {sentence}")
