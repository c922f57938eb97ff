"""A real Apptainer and an image of this checkout for tests of runs in an image."""

from tests.support.apptainer.image import apptainer, as_this_user, image

__all__ = ["apptainer", "as_this_user", "image"]
