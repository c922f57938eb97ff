"""What runs on a compute node: settings, data, models, training, tracking; `spec` and `record` are shared with all."""

__version__ = "0.1.0"
