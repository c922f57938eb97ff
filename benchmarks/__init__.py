"""One script per question; every figure is a ratio measured within one invocation."""
