"""Support of the tests: grids, quick runs, schedulers (pretended and real), wandb, a browser."""
