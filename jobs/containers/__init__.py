"""Apptainer: the image, how it is checked, and how runs are started in it."""
