"""The scheduler `pbs`: PBS Pro, OpenPBS and Torque."""
