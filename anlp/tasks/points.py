"""Settings of the task `points`: classes of points of the plane, by a perceptron."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from anlp.core.spec import Scalar
from anlp.core.training_settings import Count, Fraction, OfClasses, TrainingSettings

MAKERS = "anlp.data.points:make_points"


class PointsSettings(TrainingSettings):
    """`data`: a generator, or the name of a CSV file (`long,lat,label`) in the data folder."""

    data: str = "regions"  # spirals, moons, regions; or a file of the user's own
    points: Annotated[int, Field(ge=20, le=10_000_000)] = 6000  # generated, with test points
    model: Literal["mlp"] = "mlp"
    depth: Annotated[int, Field(ge=0, le=1000)] = 6  # hidden layers
    width: Count = 16  # units of each
    batch_norm: bool = False  # before each activation
    residual: bool = False  # hidden layers from the second on add to what they are given
    dropout: Fraction = 0.0
    monitor: OfClasses = "val/acc"

    builder: ClassVar[str] = "anlp.builders.points:build"
    smoke: ClassVar[Mapping[str, Scalar]] = {"data": "regions", "points": 200, "epochs": 1}
    loaders: ClassVar[Mapping[str, str]] = {
        "spirals": MAKERS,
        "moons": MAKERS,
        "regions": MAKERS,
        "": "anlp.data.points:read_points",
    }
    checks: ClassVar[Mapping[str, str]] = {"": "anlp.datasets.point_files:check_points"}
    loader_args: ClassVar[tuple[str, ...]] = ("points",)

    @model_validator(mode="after")
    def _batch_norm_needs_a_batch(self) -> Self:
        if self.batch_norm and self.batch_size == 1:
            raise ValueError("batch_norm: true needs batch_size > 1: one sample has no variance")
        return self
