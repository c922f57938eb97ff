"""A pretended LSF: its programs, and schedulers over it."""
