"""The catalogue of data sets: where their files come from and whether they are complete."""
