"""Settings of the task `spoken_digits`: the digit said, from sequences of audio features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from anlp.core.spec import ActiveWhen, DefaultForHash, Scalar
from anlp.core.training_settings import Count, Fraction, OfClasses, TrainingSettings

GIVEN = "spoken-arabic-digit"
MADE = "made"
RECURRENT = frozenset({"gru", "lstm", "gru_attention"})
OF_AUDIO = frozenset({"mfcc", "mel"})


class SpokenDigitsSettings(TrainingSettings):
    """Recurrent nets, with attention or without, and a baseline that pools.

    `data`: `spoken-arabic-digit` (13 MFCC a frame, 20 classes: digit and gender), or a folder of
    wav files in the data folder, named `DIGIT_SPEAKER_INDEX.wav` (10 classes), whose features are
    computed.
    """

    data: str = GIVEN
    features: Literal["given", "mfcc", "mel"] = "given"
    coefficients: Annotated[int, Field(ge=1, le=128)] = 13  # mfcc: of each frame
    bands: Annotated[int, Field(ge=4, le=256)] = 40  # of the mel scale, also for mfcc
    # speaker: validation speakers (and, of audio, test speakers) are not in the training set
    split: Literal["speaker", "random"] = "speaker"
    # split: speaker, of audio: the test speaker; "": the last by name
    test_speaker: Annotated[str, DefaultForHash("")] = ""

    model: Literal["linear", "gru", "lstm", "gru_attention"] = "gru_attention"
    # of the frames, or of a recurrent net's states
    pooling: Literal["mean", "max", "sum", "last"] = "mean"
    hidden: Count = 96  # recurrent: units of each layer and direction
    layers: Annotated[int, Field(ge=1, le=20)] = 2
    bidirectional: bool = False
    heads: Literal[1, 2, 4, 8] = 4  # of the attention; they share its width
    units: Count = 100  # linear: of the first layer
    squeeze: Count = 10  # linear: of the second layer
    dropout: Fraction = 0.1
    clip_norm: Annotated[float, Field(ge=0)] = 1.0
    monitor: OfClasses = "val/acc"

    builder: ClassVar[str] = "anlp.builders.spoken_digits:build"
    smoke: ClassVar[Mapping[str, Scalar]] = {
        "data": MADE,
        "features": "given",
        "test_speaker": "",
        "epochs": 1,
        "hidden": 16,
    }
    needs: ClassVar[tuple[str, ...]] = ("torchaudio",)
    loaders: ClassVar[Mapping[str, str]] = {
        GIVEN: "anlp.data.arabic_digits:load_arabic_digits",
        MADE: "anlp.data.arabic_digits:make_sequences",
        "": "anlp.data.wav_digits:load_wav_digits",
    }
    checks: ClassVar[Mapping[str, str]] = {"": "anlp.datasets.recordings:check_recordings"}
    loader_args: ClassVar[tuple[str, ...]] = (
        "features",
        "coefficients",
        "bands",
        "split",
        "test_speaker",
    )
    only_for: ClassVar[Mapping[str, ActiveWhen]] = {
        **TrainingSettings.only_for,
        "coefficients": ActiveWhen("features", frozenset({"mfcc"})),
        "bands": ActiveWhen("features", OF_AUDIO),
        "test_speaker": ActiveWhen("split", frozenset({"speaker"})),
        "hidden": ActiveWhen("model", RECURRENT),
        "layers": ActiveWhen("model", RECURRENT),
        "bidirectional": ActiveWhen("model", RECURRENT),
        "heads": ActiveWhen("model", frozenset({"gru_attention"})),
        "units": ActiveWhen("model", frozenset({"linear"})),
        "squeeze": ActiveWhen("model", frozenset({"linear"})),
    }

    @model_validator(mode="after")
    def _features_fit_the_data(self) -> Self:
        has_features = self.data in (GIVEN, MADE)
        if has_features != (self.features == "given"):
            wanted = "given" if has_features else "mfcc or mel"
            raise ValueError(
                f"data: {self.data} needs features: {wanted}, got features: {self.features}"
            )
        if self.features == "mfcc" and self.coefficients > self.bands:
            raise ValueError(
                f"coefficients: at most as many as bands ({self.bands}), got {self.coefficients}"
            )
        if has_features and self.test_speaker:
            raise ValueError(f"data: {self.data} has a test set of its own: leave test_speaker out")
        if self.model == "linear" and self.pooling == "last":
            raise ValueError("model: linear needs pooling: mean, max or sum, got pooling: last")
        return self
