"""Training: models, data, objective and loop are parts that combine freely; a task is a builder that combines them."""
