"""Large images to tiles: as few starts per side as cover it, spread evenly, so that tiles overlap a little.

Source   how the published BCSS tiles are cut and named (``<region>_<row>_<col>``).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt, UInt8


@dataclass(frozen=True)
class Piece:
    """A tile of a region: its place in the grid of tiles and its pixels."""

    row: int
    column: int
    image: UInt8[np.ndarray, "H W 3"]
    mask: UInt[np.ndarray, "H W"]


def starts(side: int, tile: int) -> tuple[int, ...]:
    """First pixels of ceil(side / tile) tiles, the first at 0, the last ending at `side`.

    >>> starts(3000, 1024)
    (0, 988, 1976)
    """
    count = -(-side // tile)
    return tuple(i * (side - tile) // (count - 1) for i in range(count)) if count > 1 else (0,)


def grid_shape(size: tuple[int, int], tile: int) -> tuple[int, int]:
    """Rows and columns of tiles in a region of `size` (height, width); tile 0 keeps it whole."""
    return (len(starts(size[0], tile)), len(starts(size[1], tile))) if tile else (1, 1)


def cut(
    image: UInt8[np.ndarray, "H W 3"], mask: UInt[np.ndarray, "H W"], tile: int, unlabelled: int
) -> Iterator[Piece]:
    """The tiles of a region, row by row; tile 0 keeps it whole.

    A region smaller than a tile keeps its resolution: beyond its lower and right border the image is
    mirrored, and the mask gets the raw value `unlabelled`.
    """
    if not tile:
        yield Piece(0, 0, image, mask)
        return
    beyond = (0, max(0, tile - image.shape[0]), 0, max(0, tile - image.shape[1]))  # top, bottom, left, right
    if any(beyond):
        image = cv2.copyMakeBorder(image, *beyond, cv2.BORDER_REFLECT_101)
        mask = cv2.copyMakeBorder(mask, *beyond, cv2.BORDER_CONSTANT, value=unlabelled)
    for row, y in enumerate(starts(image.shape[0], tile)):
        for column, x in enumerate(starts(image.shape[1], tile)):
            window = np.s_[y : y + tile, x : x + tile]
            yield Piece(row, column, image[window], mask[window])
