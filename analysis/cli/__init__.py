"""Arguments and output that the commands share."""
