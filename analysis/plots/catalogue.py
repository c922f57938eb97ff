"""The kinds of charts there are: a new one is a module of `analysis.plots` and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analysis.plots.boundary import boundary_chart
from analysis.plots.box import box_chart
from analysis.plots.chart import Chart
from analysis.plots.classes import classes_chart
from analysis.plots.confusion import confusion_chart
from analysis.plots.contrast import contrast_chart
from analysis.plots.correlations import correlations_chart
from analysis.plots.curves import curves_chart
from analysis.plots.evp import evp_chart
from analysis.plots.gallery import gallery_chart
from analysis.plots.gradient_norms import norms_chart
from analysis.plots.heatmap import heatmap_chart
from analysis.plots.lines import lines_chart
from analysis.plots.mapping import mapping_chart
from analysis.plots.overfit import overfit_chart
from analysis.plots.parallel import parallel_chart
from analysis.plots.report import report_chart
from analysis.plots.scatter import scatter_chart
from analysis.plots.seed_variance import luck_chart
from analysis.plots.spectrograms import spectrograms_chart
from analysis.plots.sweep import sweep_chart


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of chart."""

    summary: str
    build: Callable[
        ..., Chart
    ]  # takes the loaded runs, then keyword arguments: the names in `options`
    options: tuple[str, ...]  # of `analysis.plot.OPTIONS`
    example: str  # what follows the kind on a command line
    needs_history: bool = False
    is_text: bool = False  # a table is what people want of it


KINDS: Mapping[str, Kind] = {
    "sweep": Kind(
        "a metric against the learning rate or any number, a line per group",
        sweep_chart,
        ("metric", "x", "by", "value"),
        "mnist --by optimizer",
    ),
    "lines": Kind(
        "a metric against depth, width or any number: the median over the rest",
        lines_chart,
        ("metric", "x", "by", "value"),
        "points_shape --x width --by depth",
    ),
    "box": Kind(
        "how a metric is spread at each value of a setting: points, boxes or violins",
        box_chart,
        ("metric", "by", "style"),
        "mnist --by dropout",
    ),
    "heatmap": Kind(
        "a metric over two settings, with verdicts and the edge of stability",
        heatmap_chart,
        ("metric", "x", "y", "value"),
        "mnist --x lr --y optimizer",
        needs_history=True,
    ),
    "evp": Kind(
        "the best score to expect of a search of so many configurations, runs or hours",
        evp_chart,
        ("metric", "by", "against"),
        "mnist --by model --against hours",
    ),
    "luck": Kind(
        "the seeds of the best configurations, beside what luck alone is worth",
        luck_chart,
        ("metric", "top"),
        "mnist --top 10",
    ),
    "norms": Kind(
        "gradient norms by layer over epochs, of the best configuration (wants layer_norms: true)",
        norms_chart,
        ("metric",),
        "points_deep --only 'batch_norm=false depth=10'",
        needs_history=True,
    ),
    "classes": Kind(
        "samples of each class in the parts of the data set, with the baselines",
        classes_chart,
        (),
        "mnist",
    ),
    "confusion": Kind(
        "which classes are taken for which by the best configuration, a mean over its seeds",
        confusion_chart,
        ("metric",),
        "mnist --only model=cnn",
    ),
    "report": Kind(
        "precision, recall and F1 of every class, macro, weighted and micro, as a table or chart",
        report_chart,
        ("metric",),
        "mnist --format md",
        is_text=True,
    ),
    "gallery": Kind(
        "pictures: the most confident mistakes, the hardest hits, what seeds disagree about",
        gallery_chart,
        ("metric", "show", "top"),
        "mnist --show disagree",
    ),
    "boundary": Kind(
        "the decision map of points in a plane, with the test points",
        boundary_chart,
        ("metric",),
        "points_lr --only lr=0.01",
    ),
    "scatter": Kind(
        "predicted against true quantities with Spearman's rank correlation",
        scatter_chart,
        ("metric",),
        "fma_emotion --only model=lstm",
    ),
    "parallel": Kind(
        "a line per run through its settings to its metric; analysis.parallel has more options",
        parallel_chart,
        ("metric",),
        "mnist",
    ),
    "curves": Kind(
        "a metric by epoch, a line per run; analysis.curves has more options",
        curves_chart,
        ("metric", "by"),
        "mnist --by lr",
        needs_history=True,
    ),
    "overfit": Kind(
        "training and validation curves together, by a setting: where they part",
        overfit_chart,
        ("metric", "by"),
        "cifar10_augment --by augment",
        needs_history=True,
    ),
    "contrast": Kind(
        "pictures: what only the best, only the worst, or neither configuration gets right",
        contrast_chart,
        ("metric", "top"),
        "faces",
    ),
    "mapping": Kind(
        "samples of each label before and after labels were merged and dropped",
        mapping_chart,
        (),
        "fma_genre",
    ),
    "spectrograms": Kind(
        "spectrograms of a test piece of each class, mel bands and pitch classes",
        spectrograms_chart,
        ("metric", "top"),
        "fma_genre --only features=fused",
    ),
    "correlations": Kind(
        "Spearman's rank correlation of each configuration and quantity, with its interval",
        correlations_chart,
        (),
        "fma_emotion --format md",
        is_text=True,
    ),
}
