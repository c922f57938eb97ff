"""Settings of the tasks `fma_genre` and `fma_emotion`: music from its spectrogram."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from anlp.core.spec import ActiveWhen, Scalar
from anlp.core.training_settings import Count, Fraction, NonNegative, TrainingSettings

LSTM, CNN = frozenset({"lstm"}), frozenset({"cnn2d"})


class SpectrogramSettings(TrainingSettings):
    """Settings of both tasks: features, and a backbone that turns a sequence into a vector."""

    features: Literal["mel", "chroma", "fused"] = "mel"  # 128 mel bands, 12 pitch classes, or both
    model: Literal["lstm", "cnn2d"] = "lstm"
    hidden: Count = 128  # lstm
    layers: Annotated[int, Field(ge=1, le=20)] = 1  # lstm
    bidirectional: bool = False  # lstm
    # cnn2d: of the first block; each of the three that follow has twice as many
    filters: Count = 32
    feature_size: Count = 1000  # cnn2d: length of the vector
    dropout: Fraction = 0.1

    smoke: ClassVar[Mapping[str, Scalar]] = {
        "data": "made",
        "epochs": 1,
        "hidden": 8,
        "filters": 2,
        "feature_size": 16,
    }
    loader_args: ClassVar[tuple[str, ...]] = ("features",)
    only_for: ClassVar[Mapping[str, ActiveWhen]] = {
        **TrainingSettings.only_for,
        "hidden": ActiveWhen("model", LSTM),
        "layers": ActiveWhen("model", LSTM),
        "bidirectional": ActiveWhen("model", LSTM),
        "filters": ActiveWhen("model", CNN),
        "feature_size": ActiveWhen("model", CNN),
    }


class FmaGenreSettings(SpectrogramSettings):
    """Genres; `data` is a folder with `train/*.npy`, `test/*.npy` and the labels of both.

    These are in `train_labels.txt` and `test_labels.txt`.
    """

    data: str = "fma_genre_spectrograms_beat"
    # table that merges and drops genres: `lab`, `none`, or a YAML file in the folder
    mapping: str = "lab"
    monitor: Literal["val/loss", "val/acc", "val/f1"] = "val/f1"

    builder: ClassVar[str] = "anlp.builders.fma_genre:build"
    loaders: ClassVar[Mapping[str, str]] = {
        "made": "anlp.data.spectrograms:make_genres",
        "": "anlp.data.spectrograms:load_genres",
    }
    loader_args: ClassVar[tuple[str, ...]] = ("features", "mapping")


class FmaEmotionSettings(SpectrogramSettings):
    """Emotions; `data` is a folder with `train/*.npy` and `train_labels.txt`.

    A line of the labels is `id,valence,energy,danceability`.
    """

    data: str = "multitask_dataset_beat"
    target: Literal["valence", "energy", "danceability", "all"] = "energy"
    valence_weight: NonNegative = 1.0  # all: of each error in the sum
    energy_weight: NonNegative = 1.0
    danceability_weight: NonNegative = 1.0
    # id of an earlier run whose backbone is taken over; `GRID` or `GRID: FILTER`: its best run
    init_from: str = ""
    freeze: bool = False  # only the new read-out is trained
    monitor: Literal["val/loss", "val/mae", "val/spearman"] = "val/spearman"

    builder: ClassVar[str] = "anlp.builders.fma_emotion:build"
    smoke: ClassVar[Mapping[str, Scalar]] = {
        **SpectrogramSettings.smoke,
        "init_from": "",
        "freeze": False,
    }
    loaders: ClassVar[Mapping[str, str]] = {
        "made": "anlp.data.spectrograms:make_emotions",
        "": "anlp.data.spectrograms:load_emotions",
    }
    loader_args: ClassVar[tuple[str, ...]] = ("features", "target")
    only_for: ClassVar[Mapping[str, ActiveWhen]] = {
        **SpectrogramSettings.only_for,
        "valence_weight": ActiveWhen("target", frozenset({"all"})),
        "energy_weight": ActiveWhen("target", frozenset({"all"})),
        "danceability_weight": ActiveWhen("target", frozenset({"all"})),
    }

    @model_validator(mode="after")
    def _what_is_frozen_was_trained(self) -> Self:
        if self.freeze and not self.init_from:
            raise ValueError("freeze: true needs init_from: an untrained backbone learns nothing")
        if (
            self.target == "all"
            and self.valence_weight + self.energy_weight + self.danceability_weight == 0
        ):
            raise ValueError("target: all needs a weight above 0")
        return self
