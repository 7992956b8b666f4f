"""Label maps over their images with a legend below, in strips, so that large images need little memory."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8

from sampath_jax import drawing

#: Rows drawn at a time.
STRIP = 512
#: Pixels of the thickest outline: large images are looked at in parts.
THICKEST = 6.0
#: Narrower images get legends of this width, which then is the picture's.
LEGEND_WIDTH = 240
#: Of the tint; the outlines are opaque.
OPACITY = 0.22


def overlay_size(
    image: UInt8[np.ndarray, "H W 3"], names: Sequence[str], colors: Sequence[str]
) -> tuple[int, int]:
    """Height and width of the whole picture."""
    width = max(image.shape[1], LEGEND_WIDTH)
    return image.shape[0] + len(drawing.legend(names, colors, width)), width


def overlay_rows(
    image: UInt8[np.ndarray, "H W 3"],
    labels: UInt8[np.ndarray, "H W"],
    names: Sequence[str],
    colors: Sequence[str],
) -> Iterator[UInt8[np.ndarray, "n W 3"]]:
    """The picture from top to bottom: each class tinted and outlined, then the legend.

    Args:
        image: RGB.
        labels: 0 (left as it is) to k.
        names: of the classes.
        colors: of the classes, ``#rrggbb``.
    """
    height, width = image.shape[0], max(image.shape[1], LEGEND_WIDTH)
    line = min(THICKEST, drawing.line_width(image))
    # An outline looks at the labels this far around it; with less, strips would show.
    margin = math.ceil(4 * line) + 8
    for top in range(0, height, STRIP):
        first, end = max(0, top - margin), min(height, top + STRIP)
        strip, here = image[first : end + margin], labels[first : end + margin]
        drawn = drawing.outline(drawing.fill(strip, here, colors, OPACITY), here, colors, line)
        yield _widen(drawn[top - first : end - first], width)
    yield drawing.legend(names, colors, width)


def _widen(rows: UInt8[np.ndarray, "n w 3"], width: int) -> UInt8[np.ndarray, "n W 3"]:
    paper = ((0, 0), (0, width - rows.shape[1]), (0, 0))
    return np.pad(rows, paper, constant_values=drawing.PAPER[0])
