"""Images to be segmented: which files of a folder, and their pixels, if they are what a model expects."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from sampath_jax.data.decode import decode_image
from sampath_jax.data.inspect import inspect_image
from sampath_jax.data.problems import Problems
from sampath_jax.errors import InputError

#: Files that are taken for images, whatever the case of the letters.
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def find_images(source: Path) -> tuple[Path, ...]:
    """The file `source`, or the images directly in the folder `source`, by name.

    Raises:
        InputError: nothing there, or no image in the folder.
    """
    if source.is_file():
        return (source,)
    if not source.is_dir():
        raise InputError(f"there is no file or folder {source}")
    images = tuple(sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES))
    if not images:
        raise InputError(f"{source} holds no image: looked for {', '.join(SUFFIXES)}")
    return images


def read_image(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """RGB pixels as stored.

    Raises:
        InputError: a file that cannot be read to its end, or that is not 8-bit RGB (alpha, grey, 16 bits).
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    problems = Problems()
    inspect_image(data, str(path), problems)
    for what, remedy in problems.found:
        raise InputError(f"{path}: {what}; {remedy}")
    return decode_image(data, str(path))


def check_image(image: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    """The array itself if it is an 8-bit RGB image.

    Raises:
        InputError: another shape or type, with what to do.
    """
    if image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise InputError(
            f"the image has shape {image.shape}, but must be [height, width, 3]: "
            "drop an alpha channel, stack a grey image three times"
        )
    if image.dtype != np.uint8:
        raise InputError(f"the image holds {image.dtype}, but must hold uint8 (0 to 255): rescale it first")
    return image
