"""The list of tiles of a data set: which files, which split, which slide."""

from dataclasses import dataclass

from ml_collections import ConfigDict

from sampath_jax.data import layouts
from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.problems import Problems
from sampath_jax.data.tile import SPLITS, Tile
from sampath_jax.errors import InputError

#: How to read each layout: (config.data, problems) -> tiles.
LAYOUTS = {"published": layouts.published, "plain": layouts.plain, "prepared": layouts.prepared}


@dataclass(frozen=True)
class TileIndex:
    """All tiles of a data set in the order of its table, and the labels of its masks."""

    tiles: tuple[Tile, ...]
    labels: LabelSpec

    def split(self, name: str) -> tuple[Tile, ...]:
        """The tiles of ``train``, ``val`` or ``test``, in order.

        Raises:
            InputError: for another name.
        """
        if name not in SPLITS:
            raise InputError(f"there is no split {name!r}; there are {', '.join(SPLITS)}")
        return tuple(tile for tile in self.tiles if tile.split == name)


def open_index(config: ConfigDict) -> TileIndex:
    """The tiles of `config.data`.

    Raises:
        InputError: with every missing folder, column, image or mask in one table.
    """
    index, problems = scan(config)
    problems.raise_if_any(f"the data set {config.data.root!r} cannot be used")
    return index


def scan(config: ConfigDict) -> tuple[TileIndex, Problems]:
    """The tiles that could be found, and what is wrong with the rest."""
    labels = LabelSpec.from_config(config.data)
    problems = Problems()
    if not config.data.root:
        problems.add("no data set", "config.data.root", "give its folder: --config.data.root=DIR")
        return TileIndex((), labels), problems
    return TileIndex(tuple(LAYOUTS[config.data.layout](config.data, problems)), labels), problems
