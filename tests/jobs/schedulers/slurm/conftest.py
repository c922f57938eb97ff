"""Provides a real Apptainer and an image of this checkout for jobs of a real Slurm."""

from tests.support.apptainer.image import apptainer, as_this_user, image

__all__ = ["apptainer", "as_this_user", "image"]
