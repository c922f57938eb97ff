"""What runs on a login node: a grid file becomes scheduled runs. Never imports torch."""
