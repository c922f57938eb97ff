"""`--as-grid`: the grid file that a sweep file of wandb means, without submitting it."""

from __future__ import annotations

from pathlib import Path

from anlp.core.errors import UserError
from anlp.core.files import write_whole
from jobs.config.yaml_tree import Faults, Table, parse_yaml, read_text
from jobs.programs.sweeps import grid_of_sweep, is_sweep


def write_as_grid(source: Path, output: Path | None) -> None:
    """Print the grid file that a sweep file means, or write it.

    Args:
        source: the sweep file.
        output: the grid file; None: stdout.

    Raises:
        SpecError: the sweep file has faults.
        UserError: it is a grid file already, or the output exists or cannot be written.
    """
    content = read_text(source)
    faults = Faults(source)
    tree = parse_yaml(content, faults)
    faults.raise_if_any()
    if isinstance(tree, Table) and not is_sweep(tree):
        raise UserError(f"{source}: a grid file already; --as-grid translates sweep files of wandb")
    if output is None:
        print(grid_of_sweep(content, source), end="")
        return
    if output.exists():
        raise UserError(f"{output}: exists already; remove it, or name another file")
    text = grid_of_sweep(content, source, folder=output.parent)
    try:
        write_whole(output, text.encode())
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror})") from None
    print(f"{output}: the grid file of {source}")
