"""A training function with checkpoints: one run of the suite, or a script by hand.

By hand, printing to the terminal and continuing after Ctrl-C: python examples/function/study.py
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt

import anlp


@dataclass
class Settings:
    """What a grid may vary, with types, bounds and defaults."""

    lr: Annotated[float, Gt(0)] = 0.1
    model: Literal["linear", "hidden"] = "hidden"
    width: Annotated[int, Ge(1)] = 64
    epochs: Annotated[int, Ge(1)] = 8


def train(settings: Settings, run: anlp.Run) -> None:
    """Train one model on the embedded digits."""
    import torch  # within the function: a login node reads the settings without torch
    from torch import nn

    torch.manual_seed(run.seed)
    x, y, val_x, val_y, test_x, test_y = (part.to(run.device) for part in make_data(run.seed))
    model: nn.Module = nn.Linear(64, 10)
    if settings.model == "hidden":
        model = nn.Sequential(
            nn.Linear(64, settings.width), nn.ReLU(), nn.Linear(settings.width, 10)
        )
    model = model.to(run.device)
    optimizer = torch.optim.SGD(model.parameters(), settings.lr, momentum=0.9)
    best = 0.0
    if saved := run.load():  # None at the beginning; else `run.epochs` continues behind it
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        best = saved["best"]

    for epoch in run.epochs(settings.epochs):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch))
        for part in order.split(64):
            loss = nn.functional.cross_entropy(model(x[part]), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        acc = accuracy(model, val_x, val_y)
        best = max(best, acc)
        run.log(
            epoch, {"train/loss": loss, "val/acc": acc, "test/acc": accuracy(model, test_x, test_y)}
        )
        run.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "best": best})
    run.report({"val/best_acc": best})


def accuracy(model, images, digits) -> float:
    """Return the share of images that the model recognises."""
    return (model(images).argmax(1) == digits).float().mean().item()


def make_data(seed: int):
    """Return images and digits to train on, to validate with, and to test with."""
    import torch
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    images, digits = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits)
    fixed = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    test, rest = fixed[:400], fixed[400:]  # the test set is the same for all seeds
    rest = rest[torch.randperm(len(rest), generator=torch.Generator().manual_seed(seed))]
    parts = (rest[300:], rest[:300], test)
    return [values[part] for part in parts for values in (images, digits)]


if __name__ == "__main__":
    train(Settings(), anlp.Run())
