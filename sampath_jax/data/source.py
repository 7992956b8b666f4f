"""Random access to the tiles of a split, as stored: RGB image and raw mask at their own size.

This module and what it imports stay free of JAX: worker processes import it at every start.
"""

from abc import ABC, abstractmethod
from typing import TypedDict

import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from sampath_jax.data.decode import decode_image, decode_mask
from sampath_jax.data.index import open_index
from sampath_jax.data.tile import Tile
from sampath_jax.errors import InputError


class RawTile(TypedDict):
    """A tile as stored."""

    image: UInt8[np.ndarray, "H W 3"]
    mask: UInt8[np.ndarray, "H W"]  # the data set's own values


class TileSource(ABC):
    """The tiles of one split. Picklable: worker processes get a copy."""

    def __init__(self, tiles: tuple[Tile, ...]) -> None:
        self.tiles = tiles

    def __len__(self) -> int:
        return len(self.tiles)

    @abstractmethod
    def encoded(self, i: int) -> tuple[bytes, bytes]:
        """Image and mask of tile `i` as PNG, JPEG or TIFF bytes."""

    def image(self, i: int) -> UInt8[np.ndarray, "H W 3"]:
        """The image of tile `i` alone."""
        return decode_image(self.encoded(i)[0], str(self.tiles[i].image))

    def mask(self, i: int) -> UInt8[np.ndarray, "H W"]:
        """The raw mask of tile `i` alone."""
        return decode_mask(self.encoded(i)[1], str(self.tiles[i].mask))

    def __getitem__(self, i: int) -> RawTile:
        """Image and raw mask of tile `i`.

        Raises:
            InputError: a file that cannot be read, or image and mask of different size; names the file.
        """
        tile = self.tiles[i]
        image, mask = self.encoded(i)
        pair = RawTile(image=decode_image(image, str(tile.image)), mask=decode_mask(mask, str(tile.mask)))
        if pair["image"].shape[:2] != pair["mask"].shape:
            raise InputError(
                f"{tile.image} has {pair['image'].shape[:2]} pixels, but {tile.mask} {pair['mask'].shape}"
            )
        return pair


class FileSource(TileSource):
    """Tiles in files of their own (published and plain layout)."""

    def encoded(self, i: int) -> tuple[bytes, bytes]:
        """Image and mask of tile `i` as PNG, JPEG or TIFF bytes."""
        try:
            return self.tiles[i].image.read_bytes(), self.tiles[i].mask.read_bytes()
        except OSError as error:
            raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error


def open_source(config: ConfigDict, *splits: str) -> TileSource:
    """The tiles of a split of `config.data`, or of several, one after the other.

    Raises:
        InputError: bad files (`open_index`), or no tile in the split.
    """
    index = open_index(config)
    tiles = tuple(tile for split in splits for tile in index.split(split))
    if not tiles:
        raise InputError(f"the {' and '.join(splits)} split of {config.data.root!r} is empty")
    return source_of(config, tiles)


def source_of(config: ConfigDict, tiles: tuple[Tile, ...]) -> TileSource:
    """The given tiles of `config.data`."""
    if config.data.layout == "prepared":
        from sampath_jax.data.prepared import PreparedSource  # TFDS takes a second to import

        return PreparedSource(tiles)
    return FileSource(tiles)
