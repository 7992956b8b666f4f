"""Label maps drawn over tiles: outlines, translucent fill, legend, grid. Numpy and OpenCV on the host.

Label 0 (unlabelled) is never drawn. Colours are "#rrggbb", one per class, in the order of labels 1..k. Lines
and lettering follow the size of the picture, so that a 64-pixel tile and a 4096-pixel region both read well.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from sampath_jax.errors import InputError

#: Okabe and Ito (2008), told apart under the common colour-vision deficiencies. Those that stand out from the
#: pink, purple and white of H&E come first.
PALETTE = ("#009e73", "#56b4e9", "#e69f00", "#f0e442", "#0072b2", "#d55e00", "#000000", "#999999")

#: Sizes are free: functions check themselves that a picture and its labels agree.
Picture = UInt8[np.ndarray, "_ _ 3"]
LabelMap = UInt8[np.ndarray, "_ _"]
Field = Float[np.ndarray, "H W"]
Color = tuple[int, int, int]

#: Background of legends and grids, the ink on it, and the dark edge that keeps bright lines visible on white.
PAPER, INK, EDGE = (255, 255, 255), (45, 45, 45), (15, 15, 15)


def rgb(color: str) -> Color:
    """``"#rrggbb"`` as three numbers 0..255."""
    digits = color.removeprefix("#")
    try:
        if len(digits) != 6:
            raise ValueError
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    except ValueError:
        raise InputError(f'colour {color!r}: write it as "#rrggbb"') from None


def default_colors(count: int) -> tuple[str, ...]:
    """`PALETTE`, repeated where there are more classes than colours."""
    return tuple(PALETTE[i % len(PALETTE)] for i in range(count))


def line_width(image: Picture) -> float:
    """Pixels that look like a fine line at the image's size."""
    return max(1.0, min(image.shape[:2]) / 220)


def overlay(image: Picture, labels: LabelMap, colors: Sequence[str], opacity: float = 0.22) -> Picture:
    """The usual look of a result: a light tint that leaves the tissue readable, and outlines."""
    return outline(fill(image, labels, colors, opacity), labels, colors)


def fill(image: Picture, labels: LabelMap, colors: Sequence[str], opacity: float = 0.4) -> Picture:
    """Tints each labelled region with its class colour; `opacity` 1 hides the image."""
    _check(image, labels, colors)
    table = np.array([(0, 0, 0), *map(rgb, colors)], np.float32)
    alpha = np.float32(opacity) * (labels > 0)[..., None]
    return _to_uint8(image * (1 - alpha) + table[labels] * alpha)


def outline(image: Picture, labels: LabelMap, colors: Sequence[str], width: float | None = None) -> Picture:
    """Draws the border of each region just inside it, so that neighbours keep their own colours.

    Args:
        image: the tile.
        labels: 0..k, of the size of the image.
        colors: of labels 1..k.
        width: of the line in pixels; None follows the size of the image.
    """
    _check(image, labels, colors)
    width = line_width(image) if width is None else width
    drawn = image.astype(np.float32)
    for label in (int(v) for v in np.unique(labels) if v > 0):
        inside = labels == label
        depth = _depth(inside)
        drawn = _paint(drawn, EDGE, 0.45 * _band(depth, width / 2, 2 * width) * inside)
        drawn = _paint(drawn, rgb(colors[label - 1]), np.where(inside, _band(depth, width / 2, width), 0))
    return _to_uint8(drawn)


def _check(image: Picture, labels: LabelMap, colors: Sequence[str]) -> None:
    if image.shape[:2] != labels.shape:
        raise InputError(
            f"an image of {image.shape[:2]} and labels of {labels.shape} cannot be drawn together"
        )
    if labels.max(initial=0) > len(colors):
        raise InputError(
            f"label {labels.max()} has no colour: there are colours for labels 1 to {len(colors)}"
        )


def _depth(inside: np.ndarray) -> Field:
    """Pixels to the region's border, positive inside; smoothed there, so that stairs become lines."""
    within = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    without = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    exact = np.where(inside, within - 0.5, 0.5 - without)
    return np.where(within > 2, exact, cv2.GaussianBlur(exact, (0, 0), 0.8))


def _band(depth: Field, middle: float, width: float) -> Field:
    """1 on the line `width` wide at depth `middle`, 0 off it, with an edge of one pixel in between."""
    return np.clip((width + 1) / 2 - np.abs(depth - middle), 0, 1)


def _paint(image: Float[np.ndarray, "H W 3"], color: Color, alpha: Field) -> Float[np.ndarray, "H W 3"]:
    return image + alpha[..., None].astype(np.float32) * (np.array(color, np.float32) - image)


def _to_uint8(image: Float[np.ndarray, "H W 3"]) -> Picture:
    return np.round(image).clip(0, 255).astype(np.uint8)


def legend(names: Sequence[str], colors: Sequence[str], width: int = 800, size: int | None = None) -> Picture:
    """Swatches with names, flowing into as many rows as `width` asks for; `size` is that of the letters."""
    if len(names) != len(colors):
        raise InputError(f"{len(names)} class names, but {len(colors)} colours")
    size = _lettering(width) if size is None else size
    font = ImageFont.load_default(size)
    step, swatch, pad = round(1.7 * size), size, round(0.6 * size)
    places, x, y = [], pad, pad
    for name in names:
        length = swatch + pad + round(font.getlength(name)) + 2 * pad
        if x > pad and x + length > width:
            x, y = pad, y + step
        places.append((x, y))
        x += length
    sheet = Image.new("RGB", (max(width, 1), y + step), PAPER)
    pen = ImageDraw.Draw(sheet)
    for name, color, (left, top) in zip(names, colors, places, strict=True):
        pen.rounded_rectangle((left, top, left + swatch, top + swatch), swatch // 5, rgb(color), INK)
        pen.text((left + swatch + pad, top + swatch / 2), name, INK, font, anchor="lm")
    return np.array(sheet)


def grid(
    images: Sequence[Picture],
    ncols: int,
    cell: tuple[int, int] | None = None,
    titles: Sequence[str] | None = None,
) -> Picture:
    """Pictures in rows of `ncols` on white paper, each centred in its cell, under a line of text where asked.

    Args:
        images: of any sizes.
        ncols: pictures per row.
        cell: (height, width) that each picture is enlarged or reduced to fit; None keeps their sizes.
        titles: one line per picture; shortened to its cell.
    """
    if not images:
        raise InputError("there are no pictures to lay out")
    if titles is not None and len(titles) != len(images):
        raise InputError(f"{len(images)} pictures, but {len(titles)} titles")
    pictures = [_fit(image, cell) for image in images] if cell else list(images)
    width = max(picture.shape[1] for picture in pictures)
    gap, size = min(24, max(2, width // 40)), _lettering(2 * width)
    head = round(1.5 * size) if titles else 0
    rows = []
    for first in range(0, len(pictures), ncols):
        row = pictures[first : first + ncols]
        height = max(picture.shape[0] for picture in row)
        strip = np.full((head + height + gap, gap + ncols * (width + gap), 3), PAPER[0], np.uint8)
        for column, picture in enumerate(row):
            left = gap + column * (width + gap)
            if titles:
                strip[:head, left : left + width] = _title(titles[first + column], width, head, size)
            y, x = head + (height - picture.shape[0]) // 2, left + (width - picture.shape[1]) // 2
            strip[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
        rows.append(strip)
    return np.concatenate([np.full((gap, *rows[0].shape[1:]), PAPER[0], np.uint8), *rows])


def _fit(image: Picture, cell: tuple[int, int]) -> Picture:
    scale = min(cell[0] / image.shape[0], cell[1] / image.shape[1])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _title(text: str, width: int, height: int, size: int) -> Picture:
    font = ImageFont.load_default(size)
    while len(text) > 1 and font.getlength(text) > width:
        text = text.removesuffix("…")[:-1] + "…"
    strip = Image.new("RGB", (width, height), PAPER)
    ImageDraw.Draw(strip).text((0, height / 2), text, INK, font, anchor="lm")
    return np.array(strip)


def _lettering(width: int) -> int:
    """Height of letters, in pixels, that suits a sheet `width` wide."""
    return max(11, round(width / 64))
