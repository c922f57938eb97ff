"""A real Apptainer and an image that holds nothing of this project."""

from tests.support.apptainer.image import apptainer, as_this_user, own_image

__all__ = ["apptainer", "as_this_user", "own_image"]
