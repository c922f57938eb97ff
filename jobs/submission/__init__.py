"""From a list of runs to submitted batches."""
