"""Small data sets for tests: every tile tells which one it is, every mask has the same simple content."""

import csv
from pathlib import Path

import cv2
import numpy as np
from ml_collections import ConfigDict

from sampath_jax.config import base_config, set_value

#: Raw 7 and 9 are one class, 3 another, 0 is ignored: labels 1, 2 and 0.
CLASSES = ({"name": "gland", "values": (7, 9), "color": "#00aa00"}, {"name": "stroma", "values": (3,)})
FOLDS = {"a": 0, "b": 1, "c": 1, "d": 2, "e": 3, "f": 2, "g": 1, "h": 4, "i": -1, "j": -1, "k": 0}


def image(number: int, size: tuple[int, int] = (24, 40)) -> np.ndarray:
    """An RGB image whose red is `number`; green rises downwards, blue to the right."""
    pixels = np.full((*size, 3), number, np.uint8)
    pixels[..., 1] = np.linspace(0, 200, size[0]).astype(np.uint8)[:, None]
    pixels[..., 2] = np.linspace(0, 200, size[1]).astype(np.uint8)
    return pixels


def mask(size: tuple[int, int] = (24, 40)) -> np.ndarray:
    """Left half 7 with one pixel of 9, right half 3, the first row 0."""
    values = np.full(size, 3, np.uint8)
    values[:, : size[1] // 2] = 7
    values[1, 0] = 9
    values[0] = 0
    return values


def write(path: Path, pixels: np.ndarray) -> Path:
    """Writes RGB or single-channel pixels; the file type follows the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels)
    return path


def published(root: Path, folds: dict[str, int] = FOLDS, size: tuple[int, int] = (24, 40)) -> Path:
    """The published layout: tile number n (from 0) has red n."""
    for number, name in enumerate(folds):
        write(root / "img" / f"{name}.png", image(number, size))
        write(root / "mask" / f"{name}.png", mask(size))
    write_folds(root / "cv.csv", folds)
    return root


def write_folds(path: Path, folds: dict[str, int]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("img_id", "fold"), *folds.items()])
    return path


def config(root: Path, **values: object) -> ConfigDict:
    """A config for a made data set; keys of `values` write dots as two underscores."""
    c = base_config()
    c.data.root = str(root)
    c.data.classes, c.data.ignored = CLASSES, (0,)
    c.data.canvas = (24, 40)
    c.data.workers = 0
    c.optim.batch_size = c.eval.batch_size = 4
    for key, value in values.items():
        set_value(c, key.replace("__", "."), value)
    return c
