"""A Hydra app, unchanged: values arrive as `model.depth=8`.

By hand: python examples/hydra/app.py model.depth=8
"""

import json
import os

import hydra
from omegaconf import DictConfig
from sklearn.datasets import load_digits
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import train_test_split

KINDS = {"forest": RandomForestClassifier, "boosted": GradientBoostingClassifier}


@hydra.main(version_base=None, config_path=".", config_name="config")
def main(config: DictConfig) -> None:
    """Train a model and write its scores, one JSON object."""
    images, digits = load_digits(return_X_y=True)
    x, test_x, y, test_y = train_test_split(images, digits, test_size=0.25, random_state=0)
    x, val_x, y, val_y = train_test_split(x, y, test_size=0.2, random_state=config.seed)
    model = KINDS[config.model.kind](
        max_depth=config.model.depth,
        n_estimators=config.model.trees,
        random_state=config.seed,
    )
    model.fit(x, y)
    scores = {"val_acc": model.score(val_x, val_y), "test_acc": model.score(test_x, test_y)}
    with open(os.environ.get("ANLP_METRICS", os.devnull), "a") as file:
        file.write(json.dumps(scores) + "\n")
    print(scores)


if __name__ == "__main__":
    main()
