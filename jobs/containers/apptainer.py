"""Start programs inside an image: the one place with Apptainer's command line and environment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from anlp.core.errors import UserError
from anlp.records.image_variables import NAMES, PREFIXES, passing, variable_prefix

PROGRAMS = ("apptainer", "singularity")
EXIT_NOT_STARTED = 255  # of the program itself, with a line that begins with FATAL: on stderr
LIVE = Path("/opt/live/anlp")  # of the image: code here goes before the code that is baked in


@dataclass(frozen=True, slots=True)
class Bind:
    """Names a path of the host and where it appears in the image."""

    source: Path
    target: Path
    read_only: bool = False

    def render(self) -> str:
        """Return `SOURCE:TARGET[:ro]`.

        Raises:
            UserError: a path that Apptainer would read as something else.
        """
        for path in (self.source, self.target):
            if not path.is_absolute() or re.search(r"[,:\\\"\x00-\x1f\x7f]", str(path)):
                raise UserError(
                    f"container: {str(path)!r} cannot be bound: expected an absolute path "
                    "without comma, colon, quote, backslash and line end"
                )
        return f"{self.source}:{self.target}" + (":ro" if self.read_only else "")


@dataclass(frozen=True, slots=True)
class Container:
    """Describes an image and how programs are started in it.

    Args:
        image: the SIF file, or a folder with an unpacked image.
        program: `apptainer` or `singularity`, as the node finds it.
        binds: what of the host is seen inside, besides what the site binds by itself.
        cwd: where programs start; it is bound.
        has_gpus: whether the node's driver is wanted inside.
        prefixes: of the environment variables that pass into the image.
    """

    image: Path
    program: str = PROGRAMS[0]
    binds: tuple[Bind, ...] = ()
    cwd: Path = Path("/")
    has_gpus: bool = False
    prefixes: tuple[str, ...] = PREFIXES

    def passing(self, prefixes: Iterable[str]) -> Container:
        """Return a container into which variables with these prefixes pass as well."""
        return replace(self, prefixes=tuple(sorted({*self.prefixes, *prefixes})))

    def exec_argv(self, *command: str) -> tuple[str, ...]:
        """Return the words that start `command` in the image."""
        return (*self._words("exec"), str(self.image), *command)

    def run_argv(self) -> tuple[str, ...]:
        """Return the words in place of `python -m anlp.run`: the image's own runscript."""
        return (*self._words("run"), str(self.image))

    def program_words(self) -> tuple[str, ...]:
        """Return the words for a program that the runner starts: its folder and words are added."""
        return (*self._options("exec"), str(self.image))

    def _words(self, verb: str) -> tuple[str, ...]:
        return (*self._options(verb), "--pwd", str(self.cwd))

    def _options(self, verb: str) -> tuple[str, ...]:
        """Return the command line; without `--no-eval`, `$(...)` in values would be run."""
        binds = [word for bind in self.binds for word in ("--bind", bind.render())]
        gpus = ["--nv"] if self.has_gpus else []
        return (self.program, "-q", verb, "--cleanenv", "--no-eval", *gpus, *binds)

    @property
    def variable_prefix(self) -> str:
        """Return what goes before the name of a variable that is meant for the inside."""
        return variable_prefix(self.program)

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return the environment to start it in; no value becomes a word of the command line."""
        return passing(self.program, inherited, self.prefixes, NAMES)

    def render_exports(self) -> list[str]:
        """Return lines of bash that do so on a node, with the values that are found there."""
        prefixes = " ".join(f'"${{!{prefix}@}}"' for prefix in self.prefixes)
        variable = f"{self.variable_prefix}$name"
        binds = f"{Path(self.program).name.upper()}_BIND"
        return [
            "# of the environment the image gets these variables and no others; "
            "values never become words of a command",
            f"for name in {prefixes} \\",
            *(f"    {line} \\" for line in _wrapped(NAMES[:-1])),
            f"    {NAMES[-1]}; do",
            f'    if [ -n "${{!name+set}}" ]; then export "{variable}=${{!name}}"; fi',
            "done",
            "# a temporary directory of the job's own is seen inside as well",
            'case "${TMPDIR:-}" in',
            "    '' | /tmp | /tmp/* | *[,:]*) ;;",
            f'    *) if [ -d "$TMPDIR" ]; then '
            f'export {binds}="${{{binds}:+${binds},}}$TMPDIR"; fi ;;',
            "esac",
        ]


def parse_bind(text: str) -> Bind:
    """Read `SOURCE`, `SOURCE:TARGET` or `SOURCE:TARGET:ro`, as in a profile's `binds`.

    >>> parse_bind("/scratch:/mnt:ro").render()
    '/scratch:/mnt:ro'

    Raises:
        ValueError: anything else.
    """
    source, *rest = text.split(":")
    target = rest[0] if rest else source
    if (
        len(rest) > 2
        or rest[1:] not in ([], ["ro"], ["rw"])
        or not (Path(source).is_absolute() and target[:1] == "/")
    ):
        raise ValueError(f"expected /PATH, /PATH:/TARGET or /PATH:/TARGET:ro, got {text!r}")
    return Bind(Path(source), Path(target), read_only=rest[1:] == ["ro"])


def binds_of(paths: Iterable[Path]) -> tuple[Bind, ...]:
    """Return binds of folders at their own place: resolved links first, then as written."""
    found: dict[Path, Bind] = {}
    for path in paths:
        for place in (path.resolve(), path):
            found.setdefault(place, Bind(place, place))
    return tuple(found.values())


def _wrapped(names: Sequence[str], width: int = 100) -> list[str]:
    lines = [""]
    for name in names:
        if len(lines[-1]) + len(name) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {name}".strip()
    return lines
