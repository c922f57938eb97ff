"""What tests share: made grids, quick runs, pretended and real schedulers, a wandb server, a
browser.
"""
