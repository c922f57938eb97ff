"""Training scripts of frameworks that bring a loop of their own, of the shapes that people have."""

from __future__ import annotations

# The shape of the scripts of transformers: three dataclasses, the Trainer's own arguments.
HUGGING_FACE = """
from dataclasses import dataclass, field
from typing import Optional

import torch
from transformers import BertConfig, BertForSequenceClassification
from transformers import HfArgumentParser, Trainer, TrainingArguments, set_seed


@dataclass
class ModelArguments:
    hidden_size: int = field(default=16, metadata={"help": "size of the model"})
    cache_dir: Optional[str] = field(default=None, metadata={"help": "where to store models"})


@dataclass
class DataTrainingArguments:
    max_train_samples: Optional[int] = field(default=64, metadata={"help": "for debugging"})


class Words(torch.utils.data.Dataset):
    def __init__(self, count):
        self.words = torch.arange(count * 6).reshape(count, 6) % 19

    def __len__(self):
        return len(self.words)

    def __getitem__(self, index):
        words = self.words[index]
        return {"input_ids": words, "labels": (words.sum() > 57).long()}


def compute_metrics(prediction):
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def main():
    parser = HfArgumentParser((ModelArguments, DataTrainingArguments, TrainingArguments))
    model_args, data_args, training_args = parser.parse_args_into_dataclasses()
    set_seed(training_args.seed)
    config = BertConfig(vocab_size=20, hidden_size=model_args.hidden_size, num_hidden_layers=1,
                        num_attention_heads=2, intermediate_size=16)
    trainer = Trainer(
        model=BertForSequenceClassification(config),
        args=training_args,
        train_dataset=Words(data_args.max_train_samples),
        eval_dataset=Words(32),
        compute_metrics=compute_metrics,
    )
    trainer.train()
    print(trainer.evaluate())


if __name__ == "__main__":
    main()
"""

# The shape of a Lightning script: a module, a Trainer, a logger for TensorBoard.
LIGHTNING = """
import os
from argparse import ArgumentParser

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger


class Model(L.LightningModule):
    def __init__(self, lr, hidden):
        super().__init__()
        self.save_hyperparameters()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(8, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 2)
        )

    def training_step(self, batch, _):
        loss = torch.nn.functional.cross_entropy(self.layers(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, _):
        acc = (self.layers(batch[0]).argmax(1) == batch[1]).float().mean()
        self.log("val_acc", acc)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def main(args):
    L.seed_everything(args.seed)
    x = torch.randn(400, 8)
    data = torch.utils.data.TensorDataset(x, (x.sum(1) > 0).long())
    train, val = torch.utils.data.random_split(data, [300, 100])
    trainer = L.Trainer(
        max_epochs=args.max_epochs,
        accelerator="cpu",
        logger=TensorBoardLogger(os.environ.get("ANLP_RUN_DIR", "."), name="logs"),
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(
        Model(args.lr, args.hidden),
        torch.utils.data.DataLoader(train, batch_size=50),
        torch.utils.data.DataLoader(val, batch_size=50),
    )


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--max_epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
"""
