"""What is known about the runs of a grid: journal, states, polling, failures, cost."""
