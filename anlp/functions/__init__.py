"""Runs of the user's own functions, and `anlp.Run`, which such a function gets."""
