"""Names that a person typed against the names there are."""

from __future__ import annotations

from collections.abc import Iterable

from anlp.errors import UserError, did_you_mean


def known_name(name: str, known: Iterable[str], what: str) -> str:
    """`name` itself, if it is one of `known`.

    Args:
        name: as typed.
        known: every name that would do.
        what: the option and the kind of thing, e.g. `--per: setting`.

    Raises:
        UserError: it is not; the message has the nearest name and the whole list.
    """
    names = set(known)
    if name not in names:
        raise UserError(f"{what} {name!r} is unknown{did_you_mean(name, names)}")
    return name
