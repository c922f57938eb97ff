"""A real Apptainer, an image of this checkout and one that holds nothing of it."""

from tests.support.apptainer.image import apptainer, as_this_user, image, own_image

__all__ = ["apptainer", "as_this_user", "image", "own_image"]
