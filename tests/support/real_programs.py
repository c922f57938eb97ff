"""Training scripts of the shapes that people have, small, written for these tests.

Each trains something for a moment on made data. Some print results in sentences only; what a user
adds there is `ONE_LINE`.
"""

from __future__ import annotations

ONE_LINE = """
    import json, os
    row = {"epoch": epoch, "test_loss": loss, "test_acc": correct / total}
    with open(os.environ.get("ANLP_METRICS", os.devnull), "a") as file:
        file.write(json.dumps(row) + "\\n")
"""

# The shape of the first example of PyTorch: flags by store_true, results in a sentence.
MNIST = """
from __future__ import print_function
import argparse
import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import StepLR


def train(args, model, device, data, optimizer, epoch):
    model.train()
    for batch_idx in range(0, len(data[0]), args.batch_size):
        x, y = (part[batch_idx:batch_idx + args.batch_size].to(device) for part in data)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if batch_idx % args.log_interval == 0:
            print('Train Epoch: {} [{}/{} ({:.0f}%)]\\tLoss: {:.6f}'.format(
                epoch, batch_idx, len(data[0]), 100. * batch_idx / len(data[0]), loss.item()))
            if args.dry_run:
                break


def test(model, device, data, epoch):
    model.eval()
    with torch.no_grad():
        output = model(data[0].to(device))
    loss = F.cross_entropy(output, data[1].to(device)).item()
    correct = output.argmax(dim=1).eq(data[1].to(device)).sum().item()
    total = len(data[0])
    print('\\nTest set: Average loss: {:.4f}, Accuracy: {}/{} ({:.0f}%)\\n'.format(
        loss, correct, total, 100. * correct / total))
    #ONE_LINE


def main():
    # Training settings
    parser = argparse.ArgumentParser(description='digits')
    parser.add_argument('--batch-size', type=int, default=64, metavar='N',
                        help='input batch size for training (default: 64)')
    parser.add_argument('--epochs', type=int, default=14, metavar='N')
    parser.add_argument('--lr', type=float, default=1.0, metavar='LR')
    parser.add_argument('--gamma', type=float, default=0.7, metavar='M')
    parser.add_argument('--no-accel', action='store_true', help='disables accelerator')
    parser.add_argument('--dry-run', action='store_true', help='quickly check a single pass')
    parser.add_argument('--seed', type=int, default=1, metavar='S')
    parser.add_argument('--log-interval', type=int, default=10, metavar='N')
    parser.add_argument('--save-model', action='store_true', help='for saving the model')
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    device = torch.device("cpu" if args.no_accel or not torch.cuda.is_available() else "cuda")
    x = torch.randn(400, 8)
    y = (x.sum(1) > 0).long()
    model = torch.nn.Linear(8, 2).to(device)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        train(args, model, device, (x[:300], y[:300]), optimizer, epoch)
        test(model, device, (x[300:], y[300:]), epoch)
        scheduler.step()
    if args.save_model:
        torch.save(model.state_dict(), "mnist_cnn.pt")


if __name__ == '__main__':
    main()
"""

# Several processes train one model; the parser is at the top of the module, children import it.
HOGWILD = """
import argparse
import multiprocessing as mp
import os
import random

parser = argparse.ArgumentParser(description='several processes')
parser.add_argument('--batch-size', type=int, default=64, metavar='N')
parser.add_argument('--epochs', type=int, default=10, metavar='N')
parser.add_argument('--lr', type=float, default=0.01, metavar='LR')
parser.add_argument('--seed', type=int, default=1, metavar='S')
parser.add_argument('--log-interval', type=int, default=10, metavar='N')
parser.add_argument('--num-processes', type=int, default=2, metavar='N')
parser.add_argument('--cuda', action='store_true', default=False)
parser.add_argument('--dry-run', action='store_true', default=False)


def train(rank, args, weight):
    random.seed(args.seed + rank)
    for epoch in range(1, args.epochs + 1):
        for _ in range(50):
            x = random.gauss(0, 1)
            weight.value -= args.lr * (weight.value - 3) * x * x
        print('{}\\tTrain Epoch: {} \\tLoss: {:.6f}'.format(
            os.getpid(), epoch, (weight.value - 3) ** 2))


def test(args, weight):
    epoch, loss, total = args.epochs, (weight.value - 3) ** 2, 100
    correct = int(100 / (1 + loss))
    print('\\nTest set: Global loss: {:.4f}, Accuracy: {}/{} ({:.0f}%)\\n'.format(
        loss, correct, total, 100. * correct / total))
    #ONE_LINE


if __name__ == '__main__':
    args = parser.parse_args()
    mp.set_start_method('spawn', force=True)
    weight = mp.Value('d', 0.0)
    processes = []
    for rank in range(args.num_processes):
        p = mp.Process(target=train, args=(rank, args, weight))
        p.start()
        processes.append(p)
    for p in processes:
        p.join()
    test(args, weight)
"""

# It parses at import time, changes the namespace, and writes beside itself.
VAE = """
from __future__ import print_function
import argparse
import math
import os

parser = argparse.ArgumentParser(description='VAE')
parser.add_argument('--batch-size', type=int, default=128, metavar='N',
                    help='input batch size for training (default: 128)')
parser.add_argument('--epochs', type=int, default=10, metavar='N')
parser.add_argument('--no-cuda', action='store_true', default=False)
parser.add_argument('--no-mps', action='store_true', default=False)
parser.add_argument('--seed', type=int, default=1, metavar='S')
parser.add_argument('--log-interval', type=int, default=10, metavar='N')
args = parser.parse_args()
args.cuda = not args.no_cuda and False

os.makedirs('results', exist_ok=True)


def test(epoch):
    loss = 100 * math.exp(-epoch / args.batch_size) + args.seed / 100
    correct, total = int(100 - loss / 2), 100
    with open('results/reconstruction_' + str(epoch) + '.png', 'w') as file:
        file.write('image')
    print('====> Test set loss: {:.4f}'.format(loss))
    #ONE_LINE


if __name__ == "__main__":
    for epoch in range(1, args.epochs + 1):
        print('====> Epoch: {} Average loss: {:.4f}'.format(epoch, 110 - epoch))
        test(epoch)
"""

# The shape of torchvision's references: many arguments, made by a function, used at the end.
CLASSIFICATION = """
import datetime
import os
import time


def load_model(args):
    if args.model not in ("resnet18", "resnet50"):
        raise SystemExit(f"no model {args.model}")
    return {"resnet18": 0.7, "resnet50": 0.76}[args.model]


def main(args):
    if args.output_dir:
        os.makedirs(args.output_dir, exist_ok=True)
    print(args)
    best = load_model(args)
    if args.test_only:
        return
    start_time = time.time()
    for epoch in range(args.start_epoch, args.epochs):
        lr = args.lr * args.lr_gamma ** sum(epoch >= step for step in args.lr_steps)
        total, loss = 100, 2.0 - epoch / 10 + abs(lr - 0.1)
        correct = int(100 * (best - loss / 20) + 5 * args.model_ema)
        print(f"Epoch: [{epoch}]  [0/1]  eta: 0:00:00  lr: {lr}  img/s: 91.3  loss: {loss:.4f}")
        print(f"Test:  Acc@1 {correct:.3f} Acc@5 {correct + 3:.3f}")
        #ONE_LINE
    total_time = time.time() - start_time
    total_time_str = str(datetime.timedelta(seconds=int(total_time)))
    print(f"Training time {total_time_str}")


def get_args_parser(add_help=True):
    import argparse

    parser = argparse.ArgumentParser(description="Classification Training", add_help=add_help)

    parser.add_argument("--data-path", default="/datasets/images/", type=str, help="dataset path")
    parser.add_argument("--model", default="resnet18", type=str, help="model name")
    parser.add_argument("--device", default="cuda", type=str, help="device (Use cuda or cpu)")
    parser.add_argument("-b", "--batch-size", default=32, type=int, help="images per gpu")
    parser.add_argument("--epochs", default=90, type=int, metavar="N", help="total epochs")
    parser.add_argument(
        "-j", "--workers", default=16, type=int, metavar="N", help="data loading workers"
    )
    parser.add_argument("--opt", default="sgd", type=str, help="optimizer")
    parser.add_argument("--lr", default=0.1, type=float, help="initial learning rate")
    parser.add_argument("--momentum", default=0.9, type=float, metavar="M", help="momentum")
    parser.add_argument(
        "--wd", "--weight-decay", default=1e-4, type=float, metavar="W", dest="weight_decay"
    )
    parser.add_argument("--norm-weight-decay", default=None, type=float)
    parser.add_argument("--label-smoothing", default=0.0, type=float, dest="label_smoothing")
    parser.add_argument("--lr-steps", default=[16, 22], nargs="+", type=int, help="lr drops")
    parser.add_argument("--lr-gamma", default=0.1, type=float, help="decrease lr by this factor")
    parser.add_argument("--lr-min", default=0.0, type=float)
    parser.add_argument("--print-freq", default=10, type=int, help="print frequency")
    parser.add_argument("--output-dir", default="", type=str, help="path to save outputs")
    parser.add_argument("--resume", default="", type=str, help="path of checkpoint")
    parser.add_argument("--start-epoch", default=0, type=int, metavar="N", help="start epoch")
    parser.add_argument("--sync-bn", dest="sync_bn", help="sync batch norm", action="store_true")
    parser.add_argument("--test-only", dest="test_only", action="store_true")
    parser.add_argument("--auto-augment", default=None, type=str)
    parser.add_argument("--random-erase", default=0.0, type=float)
    parser.add_argument("--amp", action="store_true", help="mixed precision training")
    parser.add_argument("--world-size", default=1, type=int)
    parser.add_argument("--dist-url", default="env://", type=str)
    parser.add_argument("--model-ema", action="store_true")
    parser.add_argument("--model-ema-decay", type=float, default=0.99998)
    parser.add_argument("--interpolation", default="bilinear", type=str)
    parser.add_argument("--clip-grad-norm", default=None, type=float)
    parser.add_argument("--weights", default=None, type=str)
    parser.add_argument("--backend", default="PIL", type=str.lower, help="PIL or tensor")
    parser.add_argument("--use-v2", action="store_true", help="Use V2 transforms")
    return parser


if __name__ == "__main__":
    args = get_args_parser().parse_args()
    main(args)
"""

# A file and its data by position, results as `name: value`.
SCIKIT = """
import argparse
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

parser = argparse.ArgumentParser()
parser.add_argument("dataset", choices=["iris"])
parser.add_argument("-k", "--neighbors", type=int, default=5)
parser.add_argument("--weights", choices=["uniform", "distance"], default="uniform")
parser.add_argument("--random-state", type=int, default=0)
args = parser.parse_args()

x, y = load_iris(return_X_y=True)
x, test_x, y, test_y = train_test_split(x, y, test_size=0.3, random_state=args.random_state)
x, val_x, y, val_y = train_test_split(x, y, test_size=0.3, random_state=args.random_state)
model = KNeighborsClassifier(args.neighbors, weights=args.weights).fit(x, y)
print("Fitted", model)
print(f"val accuracy: {model.score(val_x, val_y):.4f}")
print(f"test accuracy: {model.score(test_x, test_y):.4f}")
"""

# Several processes of torchrun; the first one logs.
DISTRIBUTED = """
import argparse
import json
import os

import torch
import torch.distributed as dist

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
args = parser.parse_args()
dist.init_process_group("gloo")
total = torch.tensor([args.lr])
dist.all_reduce(total)
if dist.get_rank() == 0:
    with open(os.environ["ANLP_METRICS"], "a") as file:
        file.write(json.dumps({"epoch": 1, "val_acc": total.item()}) + "\\n")
dist.barrier()
dist.destroy_process_group()
"""

# Options by a library without argparse; nothing is known before it runs.
CLICK = """
import click


@click.command()
@click.option("--lr", type=float, default=0.1)
@click.option("--seed", type=int, default=0)
def main(lr, seed):
    click.echo(f"lr was {lr}, seed was {seed}")
    click.echo(f"val_acc={lr + seed / 100:.3f}")


main()
"""


def with_one_line(script: str) -> str:
    """The script with what a user adds where results are printed in sentences only."""
    before, _, after = script.partition("#ONE_LINE")
    indent = before.rpartition("\n")[2]
    lines = [line[4:] for line in ONE_LINE.strip("\n").splitlines()]
    return before + f"\n{indent}".join(lines) + after
