"""The results table: configurations, rows, cells, ties, captions, formats."""
