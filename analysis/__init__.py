"""What runs on a laptop: finished runs become tables and charts. Never imports torch."""
