"""What the commands print: text, JSON, live progress."""
