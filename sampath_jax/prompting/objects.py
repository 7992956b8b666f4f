"""The objects of a split's tiles and the dots that SAM is asked with, all found before SAM runs."""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from ml_collections import ConfigDict

from sampath_jax.data.checks import check_split
from sampath_jax.data.decode import decode_instances
from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.problems import Problems
from sampath_jax.data.source import TileSource, open_source
from sampath_jax.data.tile import Tile
from sampath_jax.errors import InputError
from sampath_jax.prompting.dots import connected_instances, instance_dots

#: What to do about an instance mask that is not there.
WHERE = (
    "config.baseline.instances is a folder, relative to config.data.root, with <tile id>.png for every tile; "
    "leave it empty to take connected components"
)


@dataclasses.dataclass(frozen=True)
class ObjectLabels:
    """What an object and everything else are called.

    Attributes:
        spec: the classes.
        inside: label of the pixels of an object.
        outside: label of all others.
    """

    spec: LabelSpec
    inside: int
    outside: int

    @classmethod
    def from_config(cls, config: ConfigDict) -> "ObjectLabels":
        """Reads `config.baseline.object_class`.

        Raises:
            InputError: there is no such class, or not exactly one other.
        """
        spec, name = LabelSpec.from_config(config.data), config.baseline.object_class
        if name not in spec.names or spec.num_classes != 2:
            raise InputError(
                f"config.baseline.object_class is {name!r}: every object is taken for this class, the "
                f"rest for one other, so name one of exactly two classes; there are {', '.join(spec.names)}"
            )
        inside = spec.names.index(name) + 1
        return cls(spec, inside, 3 - inside)


@dataclasses.dataclass(frozen=True)
class DottedTiles:
    """The tiles of a split, none of them without an object.

    Attributes:
        source: images and masks.
        labels: of objects and of the rest.
        dots: of each tile, an (x, y) for each object in the tile's pixels.
    """

    source: TileSource
    labels: ObjectLabels
    dots: tuple[Float[np.ndarray, "_ 2"], ...]

    @classmethod
    def open(cls, config: ConfigDict, split: str) -> "DottedTiles":
        """Reads every tile, and its instance mask if `config.baseline.instances` names their folder.

        Raises:
            InputError: bad data; one table of all tiles without an instance mask or without an object.
        """
        labels = ObjectLabels.from_config(config)
        check_split(config, split)
        source, problems = open_source(config, split), Problems()
        folder = config.baseline.instances and Path(config.data.root) / config.baseline.instances
        dots = []
        for i, tile in enumerate(source.tiles):
            mask = source.mask(i)
            if folder:
                instances = _read_instances(folder / f"{tile.id}.png", mask, problems)
            else:
                instances = connected_instances(labels.spec.to_labels(mask, str(tile.mask)) == labels.inside)
            dots.append(_dots(tile, instances, problems))
        problems.raise_if_any(f"the {split} split of {config.data.root!r} cannot be segmented from dots")
        return cls(source, labels, tuple(dots))


def _read_instances(
    path: Path, mask: UInt8[np.ndarray, "_ _"], problems: Problems
) -> Shaped[np.ndarray, "_ _"] | None:
    """The instance mask at `path`, which must be of the size of the tile's `mask`."""
    try:
        instances = decode_instances(path.read_bytes(), str(path))
    except OSError as error:
        problems.add("instance mask cannot be read", f"{path}: {error.strerror}", WHERE)
        return None
    except InputError as error:
        problems.add("file is no instance mask", str(error), "replace the file")
        return None
    if instances.shape != mask.shape:
        sizes = f"{instances.shape[1]}x{instances.shape[0]}, tile {mask.shape[1]}x{mask.shape[0]}"
        problems.add(
            "instance mask and tile differ in size", f"{path}: {sizes}", "export both at the same size"
        )
        return None
    return instances


def _dots(
    tile: Tile, instances: Shaped[np.ndarray, "_ _"] | None, problems: Problems
) -> Float[np.ndarray, "_ 2"]:
    """The dots of a tile; none where `instances` is missing, which has been noted, or empty."""
    if instances is None:
        return np.zeros((0, 2), np.float32)
    dots = instance_dots(instances)
    if not len(dots):
        problems.add(
            "tile without objects", tile.id, "there is nothing to put a dot on: take it out of the split"
        )
    return dots
