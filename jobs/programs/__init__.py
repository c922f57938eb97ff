"""The user's own programs on the submitting side: where they are, what settings they have."""
