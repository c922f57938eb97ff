"""Checks before a submission that the image of a site has what this project's code needs.

Such an image has a Python and packages of its own and nothing of this project: `--live` puts the
checkout over it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from anlp.core.errors import UserError
from anlp.tasks import TASKS
from anlp.tasks.user_code import is_user_code
from jobs.common import external
from jobs.containers.apptainer import PACKAGES, Container, bind_variable
from jobs.containers.trial import SWITCH, TIMEOUT_S, reason

OLDEST_PYTHON = (3, 10)
# what nodes import of setup.cfg: the module, and the oldest version that is asked for
NEEDED: Mapping[str, tuple[str, str]] = {
    "numpy": ("numpy", "1.26"),
    "pydantic": ("pydantic", "2.7"),
    "submitit": ("submitit", "1.5"),
    "torch": ("torch", "2.11"),
    "torchaudio": ("torchaudio", "2.11"),
    "torchvision": ("torchvision", "0.26"),
    "typing_extensions": ("typing_extensions", "4.8"),
    "wandb": ("wandb", "0.31"),
}
ALWAYS = ("pydantic", "typing_extensions")
FOR_TRAINING = ("numpy", "torch")
# of any Python: an old one has to be able to say how old it is
PROBE = """
import json, sys
told = {"python": list(sys.version_info[:2]), "versions": {}, "fault": ""}
if told["python"] >= OLDEST:
    from importlib import import_module, metadata, util
    for name, module in json.loads(sys.argv[1]).items():
        if util.find_spec(module) is not None:
            try:
                told["versions"][name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                told["versions"][name] = ""
    try:
        for module in sys.argv[2:]:
            import_module(module)
    except Exception as error:
        told["fault"] = "%s: %s" % (type(error).__name__, error)
print(json.dumps(told))
""".replace("OLDEST", str(list(OLDEST_PYTHON)))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Says what runs import in an image, besides this project.

    Args:
        packages: that have to be there.
        for_some: those that some settings of a task need, and the tasks.
        is_here: whether the image is started on this machine, without a profile.
    """

    packages: tuple[str, ...]
    for_some: Mapping[str, tuple[str, ...]]
    is_here: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Return all packages."""
        return (*self.packages, *self.for_some)


def wanted_by(
    tasks: Collection[str], *, has_wandb: bool, more: Collection[str] = (), is_here: bool = False
) -> Wanted:
    """Return what runs of these tasks import.

    >>> wanted_by(["mnist"], has_wandb=False, more=["submitit"]).packages
    ('pydantic', 'typing_extensions', 'numpy', 'torch', 'submitit')

    Args:
        tasks: of the runs.
        has_wandb: whether they mirror themselves.
        more: packages that the scheduler's own code on the node imports.
        is_here: whether they run on this machine.
    """
    packages = list(ALWAYS)
    built_in = sorted(task for task in tasks if not is_user_code(task))
    if built_in:
        packages += FOR_TRAINING
    packages += more
    if has_wandb:
        packages.append("wandb")
    for_some: dict[str, tuple[str, ...]] = {}
    for task in built_in:
        for package in TASKS[task].settings.needs:
            if package in NEEDED:
                for_some[package] = (*for_some.get(package, ()), task)
    return Wanted(tuple(packages), for_some, is_here=is_here)


def check_site_image(container: Container, wanted: Wanted, say: Callable[[str], None]) -> None:
    """Start the image with all that it gets in a job, and look for what the runs import.

    Args:
        container: with the checkout over the image.
        wanted: by the runs.
        say: gets warnings.

    Raises:
        UserError: it does not start, or it lacks something; the message says how to add it.
    """
    if os.environ.get(SWITCH) == "off":
        return
    modules = json.dumps({name: NEEDED[name][0] for name in wanted.names})
    tried = ("anlp.run", *(["submitit"] if "submitit" in wanted.packages else []))
    answer = external.run(
        container.python_argv("-c", PROBE, modules, *tried),
        timeout_s=TIMEOUT_S,
        environment=container.environment(os.environ),
    )
    told = _read(answer.out) if answer.code == 0 else None
    if told is None:
        raise UserError(
            f"container: {container.image}: jobs in it would not start: {_no_python(answer)}. "
            f"--no-container runs without it; {SWITCH}=off submits all the same, where only the "
            "nodes can start images"
        )
    _refuse(container, wanted, told)
    for text in _warnings(container, wanted, told.versions):
        say(f"warning: {text}")


@dataclass(frozen=True, slots=True)
class _Told:
    """What the image's Python says."""

    python: tuple[int, ...]
    versions: Mapping[str, str]  # of what is there; empty: not known
    fault: str


def _read(out: str) -> _Told | None:
    """Return the last line of the probe; an image may greet before it."""
    for line in reversed(out.splitlines()):
        if line.startswith('{"'):
            told = json.loads(line)
            return _Told(tuple(told["python"]), told["versions"], told["fault"])
    return None


def _refuse(container: Container, wanted: Wanted, told: _Told) -> None:
    """Return if nothing is missing.

    Raises:
        UserError: the first thing that is.
    """
    where = f"container: {container.image}"
    python = ".".join(map(str, told.python))
    if told.python < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise UserError(
            f"{where}: its Python is {python}, and this project needs {oldest} or newer; choose a "
            "newer image, or build one: containers/build.sh"
        )
    if "No module named 'anlp" in told.fault:
        raise UserError(
            f"{where}: it holds nothing of this project; put this checkout over it with --live, or "
            "build an image of this project: containers/build.sh"
        )
    missing = [name for name in wanted.packages if name not in told.versions]
    if missing:
        raise UserError(
            f"{where}: its Python {python} lacks {_how_to_add(missing, container, wanted)}"
        )
    if told.fault:
        raise UserError(
            f"{where}: its Python {python} cannot import this project: {told.fault}; it has "
            f"{_versions(told.versions)}"
        )


def _how_to_add(missing: Sequence[str], container: Container, wanted: Wanted) -> str:
    """Return the names of packages and what to do about them."""
    names = f"{', '.join(missing[:-1])} and {missing[-1]}" if missing[1:] else missing[0]
    if "torch" in missing:
        return f"{names}; choose an image with torch, or build one: containers/build.sh"
    specs = " ".join(f"'{name}>={NEEDED[name][1]}'" for name in missing)
    without = ", or run without wandb: --wandb disabled" if missing == ["wandb"] else ""
    install = f"apptainer exec {container.image} python3 -m pip install --target FOLDER {specs}"
    bind = f"in the profile: binds: [FOLDER:{PACKAGES}:ro]"
    if wanted.is_here:
        bind = f"by export {bind_variable(container.program)}=FOLDER:{PACKAGES}"
    return f"{names}; install into a folder ({install}), and bind that {bind}{without}"


def _warnings(container: Container, wanted: Wanted, versions: Mapping[str, str]) -> Iterator[str]:
    name = container.image.name
    for package, tasks in wanted.for_some.items():
        if package not in versions:
            yield f"{name} has no {package}: runs of {', '.join(tasks)} that need it will fail"
    old = [
        f"{package} {found} (this project asks for {NEEDED[package][1]} or newer)"
        for package, found in versions.items()
        if _numbers(found) and _numbers(found) < _numbers(NEEDED[package][1])
    ]
    if old:
        yield f"{name} has {', '.join(old)}: try one run before many"


def _numbers(version: str) -> tuple[int, ...]:
    """Return major and minor version; empty where they cannot be read.

    >>> _numbers("2.5.0a0+e000cf0ad9.nv24.10")
    (2, 5)
    """
    found = re.match(r"(\d+)\.(\d+)", version)
    return () if found is None else (int(found[1]), int(found[2]))


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}".strip() for name, version in versions.items())


def _no_python(answer: external.Answer) -> str:
    if answer.code == 127 and "python" in answer.err:
        return "there is no python3 and no python in it"
    return reason(answer)
