"""Arrays in, numbers out: intervals, tests, effects."""
