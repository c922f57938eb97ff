"""torchvision's ResNets as backbones, from scratch or with pretrained weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from anlp.core.errors import UserError
from anlp.core.files import refuse_unreadable
from anlp.models.layers import Standardize

# images up to this side keep their size in the first layer, unless the weights want the usual one
SMALL = 64
IMAGENET_MEAN = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
IMAGENET_STD = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)


class ResNet(nn.Module):
    """ResNet without its read-out: vectors of `size` values.

    Args:
        name: "resnet18" or "resnet34".
        side: height and width of the images; small ones get a first layer that does not shrink
            them.
        weights: file with weights trained on ImageNet, as torchvision publishes it; None: from
            scratch.
        mean: of the stored values, where there are no weights.
        std: of the stored values, where there are no weights.

    Raises:
        UserError: the file does not hold the weights of this net.
    """

    size = 512

    def __init__(
        self,
        name: str,
        *,
        side: int,
        weights: Path | None = None,
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
    ) -> None:
        super().__init__()
        from torchvision import models  # a second to import: only these models need it

        self.standardize = (
            Standardize(IMAGENET_MEAN, IMAGENET_STD) if weights else Standardize(mean, std)
        )
        self.net: nn.Module = getattr(models, name)(weights=None)
        if weights is not None:
            _load(self.net, weights)
        elif side <= SMALL:
            self.net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            self.net.maxpool = nn.Identity()
        self.net.fc = nn.Identity()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in the stubs

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors (B, size) of images (B, 3, side, side)."""
        vectors: Tensor = self.net(self.standardize(x))
        return vectors


def _load(net: nn.Module, path: Path) -> None:
    try:
        weights = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # damaged bytes raise almost anything, with misleading advice
        refuse_unreadable(path, error)
        raise UserError(
            f"{path}: not a whole file of weights, or one with more in it; fetch it again"
        ) from error
    wanted = net.state_dict()
    names = set(weights) if isinstance(weights, dict) else set()
    wrong = sorted({*wanted} ^ names) or sorted(
        k for k in wanted if getattr(weights[k], "shape", None) != wanted[k].shape
    )
    if wrong:
        raise UserError(
            f"{path}: not the weights of this net ({wrong[0]} does not fit); "
            "fetch those of the right one"
        )
    net.load_state_dict(weights)
