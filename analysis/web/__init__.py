"""Interactive pages: one HTML file each, which asks no network for anything."""
