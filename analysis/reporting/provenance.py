"""Where the numbers come from: versions, commits, machines, dates, data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from analysis.data.cost import PROGRAMS
from analysis.data.frames import SIZE
from analysis.reporting.blocks import Block, Cells, Notice, Section, plain_sheet
from analysis.reporting.findings import Findings

SHOWN = 8  # different values of one thing


def provenance_section(findings: Findings) -> Section:
    """Return the section; its dates are those of the runs, so that equal runs give equal pages."""
    told = [origin for origin in findings.origins if origin]
    data = _data(findings)
    if not told:
        return _section(Notice("No result tells where it comes from."), *data)
    lines = [
        ("runs that tell", f"{len(told):,} of {len(findings.runs):,}"),
        ("dates", _dates(told)),
    ]
    lines += [(f"{name}", _values(origin.get(name) for origin in told)) for name in PROGRAMS]
    lines.append(("commit", _values(origin.get("commit") for origin in told)))
    lines.append(("image", _values(_image(origin) for origin in told)))
    lines.append(("machines", _values(origin.get("host") for origin in told)))
    lines.append(("devices", _values(origin.get("device") for origin in told)))
    dirty = sum(str(origin.get("commit", "")).endswith("+dirty") for origin in told)
    mixed = len({origin.get("commit") for origin in told}) > 1
    notes = (
        [Notice(f"{dirty:,} runs are of a working tree with changes that no commit holds.")]
        if dirty
        else []
    )
    notes += [Notice("The runs are of several versions of the code.")] if mixed else []
    return _section(
        Cells(plain_sheet(("", "value (runs)"), [line for line in lines if line[1]]), ""),
        *notes,
        *data,
    )


def _values(found: Iterable[Any]) -> str:
    counts = Counter(str(value) for value in found if value)
    shown = [
        f"{name} ({count:,})"
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    more = [f"and {len(shown) - SHOWN} more"] if len(shown) > SHOWN else []
    return ", ".join([*shown[:SHOWN], *more])


def _image(origin: Mapping[str, Any]) -> str:
    image = origin.get("container")
    return (
        str(image.get("sha256") or image.get("image") or "")[:80]
        if isinstance(image, Mapping)
        else ""
    )


def _dates(told: Iterable[Mapping[str, Any]]) -> str:
    times = [
        value
        for origin in told
        for name in ("started", "ended")
        if isinstance(value := origin.get(name), float)
    ]
    if not times:
        return ""
    first, last = (datetime.fromtimestamp(at, timezone.utc) for at in (min(times), max(times)))
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"


def _data(findings: Findings) -> list[Block]:
    runs = findings.runs
    keys = [name for name in ("task", "data") if name in runs]
    sizes = [str(name) for name in runs.columns if str(name).startswith(SIZE)]
    described = runs.dropna(subset=sizes, how="all") if sizes else runs.iloc[:0]
    lines = []
    for names, group in described.groupby(keys, dropna=False, sort=True):
        first = group.iloc[0]
        cells = ["" if first[size] != first[size] else f"{int(first[size]):,}" for size in sizes]
        lines.append((*map(str, names), f"{len(group):,}", *cells))
    if not lines:
        return []
    heads = (*keys, "runs", *(size.removeprefix(SIZE) for size in sizes))
    return [
        Cells(
            plain_sheet(heads, lines, frozenset(range(len(keys), len(heads)))),
            "Data sets, in samples.",
        )
    ]


def _section(*blocks: Block) -> Section:
    return Section("provenance", "Provenance", blocks)
