"""Options that the commands of `jobs` share."""

from __future__ import annotations

import argparse


def add_fresh(parser: argparse.ArgumentParser) -> None:
    """Add `--fresh`, for commands that show a grid and change nothing."""
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="ask the scheduler now, though it was asked a moment ago",
    )
