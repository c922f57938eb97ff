"""Runs from folders and from wandb, as frames."""
