"""Workloads: what a builder makes for training (model, data, objective)."""
