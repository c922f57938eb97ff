"""A real Slurm for the tests of `slurm` and of the Torque commands over it."""

from tests.support.schedulers.slurm.cluster import cluster, cluster_alone, running_cluster

__all__ = ["cluster", "cluster_alone", "running_cluster"]
