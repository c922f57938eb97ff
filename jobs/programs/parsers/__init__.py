"""Which arguments a Python program takes: read from its source, or told by its own parser."""
