"""A picture of what training sees: tiles and their augmented views, with mask outlines."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from sampath_jax import drawing
from sampath_jax.config import data_seed
from sampath_jax.data.augmentation import AugmentConfig, augment, example_keys
from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.resize import to_canvas
from sampath_jax.data.source import open_source

#: Training tiles shown, one per row, and augmented views of each.
TILES, VIEWS = 4, 5
#: Longer side of a view in the picture, in pixels.
CELL = 320


def preview(config: ConfigDict) -> UInt8[np.ndarray, "H W 3"]:
    """Tiles spread over the training split, each beside the views that the first epochs make of it.

    Raises:
        InputError: bad files, or an empty training split.
    """
    source, spec = open_source(config, "train"), LabelSpec.from_config(config.data)
    chosen = np.unique(np.linspace(0, len(source) - 1, TILES).round().astype(np.int32))
    tiles = [source[int(i)] for i in chosen]
    pairs = [to_canvas(tile["image"], spec.to_labels(tile["mask"]), config.data.canvas) for tile in tiles]
    images, labels = (jnp.stack(arrays) for arrays in zip(*pairs, strict=True))
    view_of = jax.jit(augment, static_argnames="config")
    columns = [(np.asarray(images), np.asarray(labels))]
    for epoch in range(VIEWS):
        keys = example_keys(data_seed(config), jnp.full(len(chosen), epoch), jnp.asarray(chosen))
        view, mask = view_of(keys, images, labels, AugmentConfig.from_config(config.augment))
        columns.append((np.asarray(view).round().astype(np.uint8), np.asarray(mask)))
    scale = CELL / max(config.data.canvas)
    cells = [
        _draw(image[row], label[row], spec, scale) for row in range(len(chosen)) for image, label in columns
    ]
    titles = [
        source.tiles[i].id if view == 0 else f"view {view}" for i in chosen for view in range(VIEWS + 1)
    ]
    sheet = drawing.grid(cells, VIEWS + 1, titles=titles)
    legend = drawing.legend(spec.names, spec.colors, sheet.shape[1])
    return np.concatenate([sheet, legend])


def _draw(
    image: UInt8[np.ndarray, "H W 3"], labels: UInt8[np.ndarray, "H W"], spec: LabelSpec, scale: float
) -> UInt8[np.ndarray, "h w 3"]:
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    size = (small.shape[1], small.shape[0])
    return drawing.outline(small, cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), spec.colors)
