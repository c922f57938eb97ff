"""A metric against depth, width or any other number, with the median over the other settings."""

from __future__ import annotations

from analysis.data.load import Runs
from analysis.plots.chart import Chart
from analysis.plots.groups import pick_metric, pick_setting
from analysis.plots.sweep import Value, chart_of, sweep_info, usual_group

SHAPES = ("depth", "width", "layers", "conv_layers", "hidden", "filters", "batch_size", "dropout")


def lines_chart(
    loaded: Runs, *, metric: str = "", x: str = "", by: str = "", value: Value = "median"
) -> Chart:
    """Return a metric against the depth (or any number), a line per group.

    Raises:
        UserError: a name is unknown, or there is nothing to draw.
    """
    runs = loaded.runs
    metric = pick_metric(runs, metric, ("test/acc", "val/acc"))
    x = pick_setting(runs, x, "--x", SHAPES, is_number=True)
    by = (
        pick_setting(runs, by, "--by")
        if by
        else usual_group(runs, x, ("model", "batch_norm", "optimizer"))
    )
    return chart_of(sweep_info(runs, x, metric, by, value=value, grid=loaded.grid), x, metric)
