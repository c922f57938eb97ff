"""A training script as people have it: argparse, wandb, and nothing of this suite.

By hand: WANDB_MODE=offline python examples/argparse_wandb/train.py --lr 0.1
"""

import argparse

import numpy as np
import wandb
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--penalty", choices=["l1", "l2", "elasticnet"], default="l2")
parser.add_argument("--alpha", type=float, default=1e-4, help="strength of the penalty")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--average", action="store_true", help="average the weights of all steps")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

wandb.init(project="digits", config=vars(args))

images, digits = load_digits(return_X_y=True)
images = images / 16
x, test_x, y, test_y = train_test_split(images, digits, test_size=0.25, random_state=0)
x, val_x, y, val_y = train_test_split(x, y, test_size=0.2, random_state=args.seed)

model = SGDClassifier(
    loss="log_loss",
    learning_rate="constant",
    eta0=args.lr,
    penalty=args.penalty,
    alpha=args.alpha,
    average=args.average,
    random_state=args.seed,
)
random = np.random.default_rng(args.seed)
for epoch in range(1, args.epochs + 1):
    order = random.permutation(len(x))
    model.partial_fit(x[order], y[order], classes=range(10))
    wandb.log(
        {
            "epoch": epoch,
            "train_loss": log_loss(y, model.predict_proba(x)),
            "val_acc": model.score(val_x, val_y),
            "test_acc": model.score(test_x, test_y),
        }
    )
wandb.finish()
