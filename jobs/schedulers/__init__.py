"""Run batches of elements: on this machine, or by a cluster's scheduler."""
