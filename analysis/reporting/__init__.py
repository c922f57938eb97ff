"""Sections of a report: each module turns findings into blocks that every format can show."""
