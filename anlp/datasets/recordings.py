"""Recordings of spoken digits by their names, `DIGIT_SPEAKER_INDEX.wav`; for the login node."""

from __future__ import annotations

import gzip
import re
import sys
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from anlp.core.errors import UserError
from anlp.core.files import refuse_unreadable
from anlp.datasets.walk import by_ending, is_hidden

NAMED = re.compile(r"(\d)_(.+)_(\d+)\.wav", re.IGNORECASE)
ENDING = ".wav"
ARCHIVE = "recordings.tar.gz"
# what people have beside wav files, which is not read
OTHER_SOUND = frozenset(
    {".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".au", ".wave", ".wma"}
)
EXAMPLE = "3_theo_12.wav"
LEAST_SPEAKERS = 3  # one to train on, one for validation, one to test
PIECE = 1 << 20


@dataclass(frozen=True, slots=True, order=True)
class Recording:
    """The content of a recording, by its file's name."""

    digit: int
    speaker: str
    index: int


def check_recordings(
    data_dir: Path, name: str, *, split: str, test_speaker: str = "", **_: object
) -> None:
    """Check the names of the recordings in a folder of the data folder, before submission.

    Raises:
        UserError: there are none, a name has another form, or they cannot be split as asked.
    """
    recordings = [recording for recording, _ in read_recordings(data_dir / name)]
    say_left_out(data_dir / name)
    if split == "speaker":
        tested_and_selecting(data_dir / name, recordings, test_speaker)


def read_recordings(folder: Path) -> Iterator[tuple[Recording, Path | bytes]]:
    """Yield recordings with their file, or with its content where it is in an archive.

    The first place that has any counts: the folder, its folder `recordings`, its archive.

    Raises:
        UserError: no folder, no recordings in it, a name of another form, or an unreadable archive.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: expected a folder with recordings such as {EXAMPLE}, or {ARCHIVE} with them"
        )
    for place in (folder, folder / "recordings"):
        paths = sorted(path for path in place.glob("*") if _is_sound(path.name))
        if paths:
            yield from ((parse_name(path), path) for path in paths)
            return
    found = False
    for member, content in _read_archive(folder / ARCHIVE) if (folder / ARCHIVE).is_file() else ():
        found = True
        yield parse_name(folder / ARCHIVE / member), content
    if not found:
        raise UserError(
            f"{folder}: no recordings; expected files such as {EXAMPLE}, or {ARCHIVE} with them"
        )


def say_left_out(folder: Path) -> None:
    """Print a note that counts the sounds in the folder that `read_recordings` does not read."""
    read: Path | None = None
    left_out: list[Path] = []
    for place in (folder, folder / "recordings"):
        files = [path for path in place.glob("*") if not is_hidden(path.relative_to(folder))]
        own = [path for path in files if _is_sound(path.name)]
        left_out += [path for path in files if path.suffix.lower() in OTHER_SOUND]
        left_out += own if read is not None else []
        read = place if own and read is None else read
    if read is not None and (folder / ARCHIVE).is_file():
        left_out.append(folder / ARCHIVE)
    if left_out:
        which = f"the recordings are those ending in {ENDING} in {read or folder / ARCHIVE}"
        print(f"note: {folder}: {by_ending(left_out)} left out, {which}", file=sys.stderr)


def parse_name(path: Path) -> Recording:
    """Parse the name of a recording.

    Raises:
        UserError: it has another form.
    """
    match = NAMED.fullmatch(path.name)
    if match is None:
        raise UserError(
            f"{path}: expected DIGIT_SPEAKER_INDEX.wav, such as {EXAMPLE}; rename or remove it"
        )
    return Recording(int(match[1]), match[2], int(match[3]))


def tested_and_selecting(
    folder: Path, recordings: Iterable[Recording], test_speaker: str
) -> tuple[str, str]:
    """Return the test speaker and the validation speaker, the one before by name.

    "" is the last speaker by name.

    Raises:
        UserError: too few speakers, or the one asked for is not among them.
    """
    speakers: Sequence[str] = sorted({recording.speaker for recording in recordings})
    if len(speakers) < LEAST_SPEAKERS:
        raise UserError(
            f"{folder}: split: speaker needs at least {LEAST_SPEAKERS} speakers, "
            f"found {', '.join(speakers)}; use split: random"
        )
    if test_speaker and test_speaker not in speakers:
        raise UserError(
            f"{folder}: test_speaker: expected one of {', '.join(speakers)}, got {test_speaker!r}"
        )
    tested = speakers.index(test_speaker) if test_speaker else len(speakers) - 1
    return speakers[tested], speakers[tested - 1]


def _is_sound(name: str) -> bool:
    """Tell whether a name is that of a recording.

    Archives made on a Mac hold a hidden `._NAME.wav` beside each.
    """
    return name.lower().endswith(ENDING) and not name.startswith(".")


def _read_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """Read an archive to its end: only the checksum there shows damage in the middle."""
    try:
        with gzip.open(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for member in archive:
                name = Path(member.name).name
                content = (
                    archive.extractfile(member) if member.isfile() and _is_sound(name) else None
                )
                if content:
                    yield name, content.read()
            while unpacked.read(PIECE):
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        refuse_unreadable(path, error)
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a readable archive ({reason}); fetch it again") from error
