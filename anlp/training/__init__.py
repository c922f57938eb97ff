"""Training: model, data, objective and loop are parts that combine freely."""
