"""Which settings matter: designs, importance and its text."""
