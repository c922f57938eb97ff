"""The usual training loop, one process per run: what `grid_wall` compares the suite with.

torchvision's data set with ToTensor and Normalize, a DataLoader, PyTorch's own optimizers, wandb
offline, validation after each epoch and a test at the end. The models are those of the suite, so
that both train the same thing; `--textbook` takes them as tutorials write them (ReLU before
pooling, NCHW, `nn.Dropout`): same numbers, slower.
"""

from __future__ import annotations

import argparse
import json

import torch
import wandb
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset, random_split
from torchvision import datasets, transforms

from anlp.models.cnn import Cnn
from anlp.models.dense import Dense

BATCH = 64
TEST_BATCH = 1000
VAL_SAMPLES = 6000
Loader = DataLoader[tuple[Tensor, Tensor]]


def make_model(name: str) -> nn.Module:
    """Return the suite's own model at its default size; images come normalised already."""
    return Dense(28 * 28, 10) if name == "dense" else Cnn(28, 10)


def make_textbook_model(name: str) -> nn.Module:
    """Return the same layers with the same numbers of parameters, as a tutorial has them."""
    if name == "dense":
        hidden = [
            nn.Linear(28 * 28, 512),
            nn.ReLU(),
            nn.Dropout(0.0),
            nn.Linear(512, 512),
            nn.ReLU(),
            nn.Dropout(0.0),
        ]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(512, 10))
    first = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(
        *first, *second, nn.Linear(1568, 128), nn.ReLU(), nn.Dropout(0.0), nn.Linear(128, 10)
    )


def make_loaders(root: str, workers: int) -> tuple[Loader, Loader, Loader]:
    """Training, validation and test samples."""
    normalize = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    known = datasets.MNIST(root, train=True, transform=normalize)
    train: Subset[tuple[Tensor, Tensor]]
    train, val = random_split(known, [len(known) - VAL_SAMPLES, VAL_SAMPLES])
    persistent = workers > 0
    return (
        DataLoader(train, BATCH, shuffle=True, num_workers=workers, persistent_workers=persistent),
        DataLoader(val, TEST_BATCH, num_workers=workers, persistent_workers=persistent),
        DataLoader(
            datasets.MNIST(root, train=False, transform=normalize), TEST_BATCH, num_workers=workers
        ),
    )


def train_epoch(
    model: nn.Module, loader: Loader, optimizer: torch.optim.Optimizer
) -> tuple[float, float]:
    """Mean loss and accuracy."""
    model.train()
    loss_sum, correct = 0.0, 0
    for images, labels in loader:
        optimizer.zero_grad()
        output = model(images)
        loss = functional.cross_entropy(output, labels)
        loss.backward()  # type: ignore[no-untyped-call] # as torch has it
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        correct += int((output.argmax(1) == labels).sum())
    return loss_sum / len(loader.dataset), correct / len(loader.dataset)  # type: ignore[arg-type] # sized, untyped


@torch.no_grad()
def evaluate(model: nn.Module, loader: Loader) -> tuple[float, float]:
    """Mean loss and accuracy."""
    model.eval()
    loss_sum, correct = 0.0, 0
    for images, labels in loader:
        output = model(images)
        loss_sum += functional.cross_entropy(output, labels, reduction="sum").item()
        correct += int((output.argmax(1) == labels).sum())
    return loss_sum / len(loader.dataset), correct / len(loader.dataset)  # type: ignore[arg-type] # as above


def parse_arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description="Trains one model on MNIST; prints the test accuracy as JSON."
    )
    parser.add_argument("--model", choices=("dense", "cnn"), default="dense")
    parser.add_argument("--optimizer", choices=("sgd", "adam"), default="adam")
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--textbook", action="store_true", help="models as tutorials write them")
    parser.add_argument("--data", required=True, help="folder with MNIST/raw in it")
    parser.add_argument("--wandb-dir", required=True)
    return parser.parse_args()


def main() -> None:
    """Trains and tests."""
    args = parse_arguments()
    torch.manual_seed(args.seed)
    wandb.init(project="naive", mode="offline", dir=args.wandb_dir, config=vars(args))
    train, val, test = make_loaders(args.data, args.workers)
    model = make_textbook_model(args.model) if args.textbook else make_model(args.model)
    optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[args.optimizer](
        model.parameters(), lr=args.lr
    )
    for epoch in range(1, args.epochs + 1):
        train_loss, train_acc = train_epoch(model, train, optimizer)
        val_loss, val_acc = evaluate(model, val)
        measures = {
            "train/loss": train_loss,
            "train/acc": train_acc,
            "val/loss": val_loss,
            "val/acc": val_acc,
        }
        wandb.log(measures, step=epoch)
    test_loss, test_acc = evaluate(model, test)
    wandb.log({"test/loss": test_loss, "test/acc": test_acc})
    wandb.finish()
    print(json.dumps({"test/acc": test_acc, "val/acc": val_acc}))


if __name__ == "__main__":
    main()
