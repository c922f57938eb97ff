"""Text without runs: alignment, units of metrics, levels, escaping."""
