"""Synthetic data sets: seeded H&E-like tiles as real files, for the demo, tests and benchmarks.

    python -m sampath_jax.data.synthetic --output DIR [--layout published|crag] [--count 24] [--size 512]

`write_dataset` writes the published layout (``img/``, ``mask/``, ``cv.csv``); `write_crag` writes images and
instance masks under the names of the CRAG download. The tissue itself is drawn by data/tissue.py.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from sampath_jax import cli, console
from sampath_jax.data.tissue import Recipe, Tissue, draw_stain, draw_tissue
from sampath_jax.errors import InputError

#: The classes of `write_dataset`, as `config.data.classes` wants them; raw value 0 is unlabelled.
CLASSES = (
    {"name": "gland", "values": (1,), "color": "#009E73"},
    {"name": "stroma", "values": (2,), "color": "#56B4E9"},
    {"name": "lymphocytes", "values": (3,), "color": "#E69F00"},
    {"name": "necrosis", "values": (4,), "color": "#F0E442"},
)
IGNORED = (0,)

#: Folds that slides are dealt to in turn: three slides already give training, validation (0) and test (-1).
FOLDS = (1, 0, -1, 2, 3, 4)
#: CRAG: glands crowd the tile and nothing else is labelled.
CRAG = Recipe(glands=(0.35, 0.6), necrosis=(0.0, 0.0), lymphocytes=(0.03, 0.12), radius=(30.0, 80.0))

#: Micrometres per pixel of the published data; small tiles are drawn coarser, so that each shows `FIELD`.
BCSS_MPP, CRAG_MPP = 0.25, 0.5
#: Micrometres that the shorter side of a tile shows at least: a whole gland and its surroundings.
FIELD = 160.0


def write_dataset(
    root: Path,
    count: int = 24,
    size: int | tuple[int, int] = 512,
    seed: int = 0,
    *,
    image_format: str = "png",
    tiles_per_slide: int = 3,
) -> Path:
    """Writes `count` tiles in the published layout and returns the path of its ``cv.csv``.

    Every tile shows the four `CLASSES`; about half of them have unlabelled corners (raw value 0). Ids are
    ``SYN-<slide>_<row>_<column>``: tiles of one slide share its stain and its fold.

    Args:
        root: the folder to create ``img/``, ``mask/`` and ``cv.csv`` in.
        count: number of tiles.
        size: (height, width) in pixels, or one number for both.
        seed: tile n of a seed is the same whatever `count` is.
        image_format: of the images: ``png``, ``jpg`` or ``tif``; masks are always PNG.
        tiles_per_slide: consecutive tiles of one slide; fewer if `count` would not fill three slides.
    """
    height, width = _checked(size, count, image_format)
    tiles_per_slide = max(1, min(tiles_per_slide, count // 3))
    rows = []
    for n in range(count):
        slide, place = divmod(n, tiles_per_slide)
        tile = _draw(seed, slide, n, (height, width), Recipe(), BCSS_MPP)
        name = f"SYN-{slide:04d}_{place // 2}_{place % 2}"
        mask = _cut_corners(np.random.default_rng((seed, n, 1)), tile.classes)
        _write(root / "img" / f"{name}.{image_format}", tile.image)
        _write(root / "mask" / f"{name}.png", mask)
        rows.append((name, FOLDS[slide % len(FOLDS)]))
    path = root / "cv.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("img_id", "fold"), *rows])
    return path


def write_crag(
    root: Path, train: int = 8, test: int = 3, size: int | tuple[int, int] = (1516, 1512), seed: int = 0
) -> None:
    """Writes CRAG as it is downloaded: ``{train,valid}/{Images,Annotation}/{train,test}_#.png``.

    Masks number the glands from 1; 0 is everything else.
    """
    shape = _checked(size, train + test, "png")
    for n in range(train + test):
        folder, name = ("train", f"train_{n + 1}") if n < train else ("valid", f"test_{n - train + 1}")
        tile = _draw(seed, n, n, shape, CRAG, CRAG_MPP)
        _write(root / folder / "Images" / f"{name}.png", tile.image)
        _write(root / folder / "Annotation" / f"{name}.png", tile.glands)


def _checked(size: int | tuple[int, int], count: int, image_format: str) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 16 or count < 1:
        raise InputError(f"{count} tiles of {height}x{width} pixels: ask for at least one, of at least 16x16")
    if image_format not in ("png", "jpg", "tif"):
        raise InputError(f"image format {image_format!r}: use png, jpg or tif")
    return height, width


def _draw(seed: int, slide: int, number: int, size: tuple[int, int], recipe: Recipe, mpp: float) -> Tissue:
    stain = draw_stain(np.random.default_rng((seed, slide, 2)))
    return draw_tissue(
        np.random.default_rng((seed, number, 0)), size, max(mpp, FIELD / min(size)), stain, recipe
    )


def _cut_corners(rng: np.random.Generator, classes: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """Up to two corners become unlabelled, as where a slanted annotated region ends."""
    height, width = classes.shape
    mask = classes.copy()
    y, x = np.ogrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    for _ in range(rng.integers(0, 3)):
        down, right = y if rng.random() < 0.5 else 1 - y, x if rng.random() < 0.5 else 1 - x
        along_y, along_x = rng.uniform(0.15, 0.45, 2)
        mask[down / along_y + right / along_x < 1] = 0
    return mask


def _write(path: Path, image: UInt8[np.ndarray, "H W *c"]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), pixels, quality):
        raise InputError(f"{path} cannot be written")


def main(arguments: Sequence[str]) -> None:
    """Writes a synthetic data set to a folder."""
    parser = argparse.ArgumentParser(prog="python -m sampath_jax.data.synthetic", description=main.__doc__)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--layout", choices=("published", "crag"), default="published")
    parser.add_argument(
        "--count", type=int, default=24, help="tiles; crag: training and test images together"
    )
    parser.add_argument("--size", type=int, nargs="+", default=[512], help="pixels: SIDE, or HEIGHT WIDTH")
    parser.add_argument("--format", choices=("png", "jpg", "tif"), default="png")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(list(arguments))
    if len(options.size) > 2:
        parser.error("--size takes SIDE, or HEIGHT WIDTH")
    size = (options.size[0], options.size[-1])
    if options.layout == "crag":
        test = options.count // 4
        write_crag(options.output, options.count - test, test, size, options.seed)
    else:
        write_dataset(options.output, options.count, size, options.seed, image_format=options.format)
    console.out.print(f"wrote {options.count} tiles of {size[0]}x{size[1]} pixels to {options.output}")


if __name__ == "__main__":
    cli.run(main)
