"""The scheduler `local`: a pool of worker processes on this machine."""
