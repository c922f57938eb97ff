"""The backends: each takes a batch of elements and knows what became of it."""
