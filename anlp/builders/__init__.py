"""One builder per task: from its settings to the parts that the loop trains."""
