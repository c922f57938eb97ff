"""Where a command's text goes and in which format: the screen or a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from analysis.text.output import write_file


def add_out(
    parser: argparse.ArgumentParser, what: str, *, metavar: str = "FILE", old: str = ""
) -> None:
    """Add `-o`, `--out`.

    Args:
        parser: of the command.
        what: the help.
        metavar: FILE or DIR.
        old: another spelling, which stays valid and is not shown.
    """
    parser.add_argument("-o", "--out", type=Path, metavar=metavar, help=what)
    if old:
        parser.add_argument(
            old, dest="out", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def add_format(
    parser: argparse.ArgumentParser, formats: Mapping[str, str], default: str, *shortcuts: str
) -> None:
    """Add `--format`, `-o`, and a shortcut such as `--json` for some formats.

    Args:
        parser: of the command.
        formats: name -> suffix of files.
        default: what is printed without `--format` and `-o`, in words.
        shortcuts: names of formats.
    """
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--format", choices=tuple(formats), help=f"default: {default}")
    for name in shortcuts:
        group.add_argument(
            f"--{name}",
            action="store_const",
            const=name,
            dest="format",
            help=f"short for --format {name}",
        )
    endings = " ".join(formats.values())
    add_out(parser, f"write a file; its ending decides the format: {endings}", old="--output")


def chosen_format(options: argparse.Namespace, formats: Mapping[str, str], default: str) -> str:
    """Return the format that was asked for by name or by the ending of the file.

    Args:
        options: those of `add_format`.
        formats: as there.
        default: of the screen and of unknown endings.
    """
    if options.format:
        return str(options.format)
    if options.out is not None:
        for name, suffix in formats.items():
            if options.out.suffix == suffix:
                return name
    return default


def write_or_print(text: str, out: Path | None) -> None:
    """Print the text, or write it to a file and say so on stderr.

    Raises:
        UserError: the file cannot be written.
    """
    if out is None:
        sys.stdout.write(text)
        return
    write_file(out, text.encode())
    print(f"wrote {out}", file=sys.stderr)
