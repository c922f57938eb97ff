"""A real Apptainer and an image of this checkout for tests of jobs of a real Slurm that run in an
image.
"""

from tests.support.apptainer.image import apptainer, as_this_user, image

__all__ = ["apptainer", "as_this_user", "image"]
