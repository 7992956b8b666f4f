"""Draws stylised H&E tissue: where glands, stroma, lymphocytes and necrosis lie, and how they stain.

Everything is laid out in micrometres and drawn as two concentration maps, haematoxylin and eosin, which
Beer-Lambert turns into colour (data/stain.py). So tiles look alike at every size and resolution.
"""

import dataclasses
import math
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from sampath_jax.data.nuclei import Nuclei, joined, palisade, scattered, stamp
from sampath_jax.data.stain import HE

GLAND, STROMA, LYMPHOCYTES, NECROSIS = 1, 2, 3, 4

Field = Float[np.ndarray, "H W"]
Mask = Bool[np.ndarray, "H W"]
Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a tile is made of: shares of its area, drawn from (low, high)."""

    glands: Range = (0.25, 0.45)
    necrosis: Range = (0.08, 0.22)
    lymphocytes: Range = (0.1, 0.25)
    radius: Range = (20.0, 48.0)  # of the glands, in micrometres


class Stain(NamedTuple):
    """How one slide was stained and scanned."""

    haematoxylin: float
    eosin: float
    vectors: Float[np.ndarray, "2 3"]
    white: Float[np.ndarray, "3"]


class Tissue(NamedTuple):
    """A drawn tile: the image, its class per pixel, and the number of the gland (0 = none) per pixel."""

    image: UInt8[np.ndarray, "H W 3"]
    classes: UInt8[np.ndarray, "H W"]
    glands: UInt8[np.ndarray, "H W"]


def draw_stain(rng: np.random.Generator) -> Stain:
    """One slide's stain: strengths differ by a quarter, hues a little."""
    vectors = HE * rng.uniform(0.92, 1.08, (2, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    white = (rng.uniform(0.96, 0.975) + rng.uniform(-0.01, 0.01, 3)).astype(np.float32)
    return Stain(rng.uniform(0.85, 1.15), rng.uniform(0.85, 1.15), vectors, white)


def draw_tissue(
    rng: np.random.Generator, size: tuple[int, int], mpp: float, stain: Stain, recipe: Recipe
) -> Tissue:
    """Draws a tile of `size` (height, width) pixels at `mpp` micrometres per pixel."""
    px = 1 / mpp
    necrosis = _share(
        _noise(rng, size, 110 * px) + 0.12 * _noise(rng, size, 14 * px), rng.uniform(*recipe.necrosis)
    )
    outlines, glands = _glands(rng, size, px, recipe, necrosis)
    in_gland = glands > 0
    necrosis &= ~in_gland
    field = _noise(rng, size, 70 * px) + 0.15 * _noise(rng, size, 12 * px)
    field[in_gland | necrosis] = -np.inf
    lymphocytes = _share(field, rng.uniform(*recipe.lymphocytes)) & ~in_gland & ~necrosis
    classes = np.full(size, STROMA, np.uint8)
    for value, where in ((GLAND, in_gland), (LYMPHOCYTES, lymphocytes), (NECROSIS, necrosis)):
        classes[where] = value
    haematoxylin, eosin = _stain_maps(rng, size, px, classes, outlines)
    return Tissue(_expose(rng, haematoxylin, eosin, stain, px), classes, glands)


def _noise(rng: np.random.Generator, size: tuple[int, int], period: float) -> Field:
    """Smooth noise of mean 0 and deviation about 1 with bumps `period` pixels wide, on a tilted grid."""
    period = max(period, 1.0)
    reach = int(np.hypot(*size) / period) + 6
    coarse = rng.standard_normal((reach, reach), dtype=np.float32)
    y, x = np.indices(size, np.float32)
    tilt = rng.uniform(0, 2 * np.pi)
    along, across = math.cos(tilt) / period, math.sin(tilt) / period
    middle_y, middle_x, offset = size[0] / 2, size[1] / 2, reach / 2 + rng.uniform(-0.5, 0.5)
    x, y = x - middle_x, y - middle_y
    return 1.4 * cv2.remap(
        coarse, along * x + across * y + offset, along * y - across * x + offset, cv2.INTER_CUBIC
    )


def _share(field: Field, share: float) -> Mask:
    """The `share` of all pixels where `field` is highest."""
    return field > np.quantile(field, 1 - share)


def _glands(
    rng: np.random.Generator, size: tuple[int, int], px: float, recipe: Recipe, keep_out: Mask
) -> tuple[list[Float[np.ndarray, "n 2"]], UInt8[np.ndarray, "H W"]]:
    """Closed outlines (x, y) of glands that do not touch, and the gland number of each pixel."""
    height, width = size
    share = rng.uniform(*recipe.glands)
    numbers = np.zeros(size, np.uint8)
    taken = keep_out.copy()
    gap = np.ones(2 * [2 * max(1, round(2.5 * px)) + 1], np.uint8)
    outlines: list[np.ndarray] = []
    for _ in range(150):
        if np.count_nonzero(numbers) >= share * numbers.size or len(outlines) == 255:
            break
        centre = np.array([width, height]) * (
            rng.uniform(-0.05, 1.05, 2) if outlines else rng.uniform(0.3, 0.7, 2)
        )
        outline = centre + _outline(rng, rng.uniform(*recipe.radius) * px)
        drawn = _fill(size, outline)
        near = cv2.dilate(drawn, gap) > 0
        if not drawn.any() or (outlines and (near & taken).any()):
            continue
        outlines.append(outline)
        numbers[drawn > 0] = len(outlines)
        taken |= drawn > 0
    return outlines, numbers


def _fill(size: tuple[int, int], outline: Float[np.ndarray, "n 2"]) -> UInt8[np.ndarray, "H W"]:
    return cv2.fillPoly(np.zeros(size, np.uint8), [np.round(outline).astype(np.int32)], 1)


def _outline(rng: np.random.Generator, radius: float) -> Float[np.ndarray, "n 2"]:
    """A wobbly, elongated ring of 160 points about the origin."""
    turn = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    order, size = np.array([[2], [3], [5]]), np.array([[0.1], [0.08], [0.04]])
    wobble = (size * np.cos(order * turn + rng.uniform(0, 2 * np.pi, (3, 1)))).sum(0)
    stretch = np.sqrt(rng.uniform(1, 1.8))
    ring = radius * (1 + wobble)[:, None] * np.stack([np.cos(turn) * stretch, np.sin(turn) / stretch], 1)
    tilt = rng.uniform(0, np.pi)
    return ring @ np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])


def _stain_maps(
    rng: np.random.Generator,
    size: tuple[int, int],
    px: float,
    classes: UInt8[np.ndarray, "H W"],
    outlines: list,
) -> tuple[Field, Field]:
    """Haematoxylin and eosin per pixel: each tissue's ground, then the nuclei."""
    along, fibres = _fibres(rng, size, px, classes == GLAND)
    depth = cv2.distanceTransform((classes == GLAND).astype(np.uint8), cv2.DIST_L2, 5) / px
    grain, debris, clouds = (_noise(rng, size, period * px) for period in (1.2, 3.5, 9))

    height_of_cells = 15 + 2.5 * _noise(rng, size, 14 * px) + 0.7 * _noise(rng, size, 3 * px)
    lumen = _soft((depth - height_of_cells) / 0.8)
    cleft = _soft((fibres - 1.6) * 2.5)
    grounds = {  # haematoxylin, eosin
        GLAND: (0.34 + 0.05 * clouds + 0.03 * grain, 0.42 + 0.07 * clouds + 0.05 * grain),
        STROMA: (0.1 + 0.03 * clouds, 0.72 + 0.17 * fibres + 0.06 * clouds + 0.03 * grain),
        LYMPHOCYTES: (0.22 + 0.03 * grain, 0.42 + 0.1 * fibres),
        NECROSIS: (0.14 + 0.03 * grain + 0.03 * debris, 0.42 + 0.06 * grain + 0.08 * debris + 0.06 * clouds),
    }
    haematoxylin, eosin = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for value, (h, e) in grounds.items():
        weight = cv2.GaussianBlur((classes == value).astype(np.float32), (0, 0), max(0.5, 0.8 * px))
        if value in (STROMA, LYMPHOCYTES):
            weight = weight * (1 - 0.9 * cleft)
        haematoxylin += weight * h
        eosin += weight * e
    haematoxylin *= 1 - 0.95 * lumen
    eosin *= 1 - 0.95 * lumen
    border = np.exp(-(((depth - height_of_cells + 1.2) / 0.9) ** 2))  # the cells' brush border, on the lumen
    eosin += 0.3 * border * (depth > 0)

    nuclei = _all_nuclei(rng, size, px, classes, outlines, along)
    chromatin = 1 + 0.13 * _noise(rng, size, 1.1 * px)
    haematoxylin += stamp(size, nuclei, px) * chromatin * (1 - lumen)
    return haematoxylin, eosin


def _soft(x: Field) -> Field:
    """0 below -1, 1 above 1, smooth between."""
    t = np.clip((x + 1) / 2, 0, 1)
    return t * t * (3 - 2 * t)


def _fibres(rng: np.random.Generator, size: tuple[int, int], px: float, glands: Mask) -> tuple[Field, Field]:
    """Angle along the collagen fibres, and their texture. Fibres wave, and bend around the glands."""
    y, x = np.indices(size, np.float32) / px
    tilt = rng.uniform(0, np.pi)
    across = (
        math.cos(tilt) * y
        - math.sin(tilt) * x
        + 16 * _noise(rng, size, 80 * px)
        + 3 * _noise(rng, size, 25 * px)
    )
    outside = cv2.distanceTransform((~glands).astype(np.uint8), cv2.DIST_L2, 5) / px
    across = across + 45 * cv2.GaussianBlur(np.exp(-outside / 22), (0, 0), 5 * px)
    slope_y = cv2.Sobel(across, cv2.CV_32F, 0, 1, ksize=3)
    slope_x = cv2.Sobel(across, cv2.CV_32F, 1, 0, ksize=3)
    lengthwise = math.cos(tilt) * x + math.sin(tilt) * y

    def strands(wide: float, long: float) -> Field:
        period = np.array([wide, long], np.float32)
        spans = [(np.ptp(f) / p, f.min() / p) for f, p in zip((across, lengthwise), period, strict=True)]
        texture = rng.standard_normal([int(span) + 5 for span, _ in spans], dtype=np.float32)
        rows, columns = across / wide - spans[0][1] + 2, lengthwise / long - spans[1][1] + 2
        return 1.4 * cv2.remap(texture, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)

    texture = 0.75 * strands(3.5, 45.0) + 0.6 * strands(1.3, 25.0)
    # The slope is 1 where fibres have their width. Where it is near 0 they would smear to blobs.
    steep = np.hypot(slope_x, slope_y) * (px / 8)
    return np.arctan2(slope_y, slope_x) + np.pi / 2, texture * np.clip(1.5 * steep, 0, 1)


def _all_nuclei(
    rng: np.random.Generator,
    size: tuple[int, int],
    px: float,
    classes: np.ndarray,
    outlines: list,
    along: Field,
) -> Nuclei:
    groups = [palisade(rng, outline, px) for outline in outlines]

    def scatter(value: int, spacing: float, keep: float, long: Range, short: Range, dark: Range) -> None:
        """Adds nuclei to one class; in stroma, long ones lie along the fibres."""
        at = scattered(rng, size, spacing * px, keep)
        at = at[classes[at[:, 1].astype(int), at[:, 0].astype(int)] == value]
        n = len(at)
        y, x = at[:, 1].astype(int), at[:, 0].astype(int)
        angle = along[y, x] if value == STROMA else rng.uniform(0, np.pi, n)
        sizes = np.stack([rng.uniform(*long, n), rng.uniform(*short, n)], 1) * px
        groups.append(Nuclei(at, sizes, angle, rng.uniform(*dark, n)))

    scatter(STROMA, 21.0, 0.75, (5.0, 9.0), (1.1, 1.8), (0.7, 1.2))
    scatter(STROMA, 60.0, 0.6, (2.6, 3.3), (2.6, 3.3), (1.1, 1.5))
    scatter(LYMPHOCYTES, 7.2, 0.88, (2.7, 3.5), (2.5, 3.2), (1.1, 1.6))
    scatter(NECROSIS, 10.0, 0.6, (0.6, 1.6), (0.5, 1.3), (0.4, 1.0))  # dust of broken nuclei
    scatter(NECROSIS, 17.0, 0.7, (3.5, 5.0), (3.0, 4.5), (0.08, 0.2))  # ghosts of cells
    return joined(groups)


def _expose(
    rng: np.random.Generator, haematoxylin: Field, eosin: Field, stain: Stain, px: float
) -> UInt8[np.ndarray, "H W 3"]:
    """Light through the stained section, blurred by the lens, with a trace of sensor noise."""
    amounts = np.stack([haematoxylin * stain.haematoxylin, eosin * stain.eosin], -1).clip(0.015, 2.2)
    light = stain.white * np.exp(-amounts @ stain.vectors)
    light = cv2.GaussianBlur(light, (0, 0), max(0.45, 0.12 * px))
    light += 0.006 * rng.standard_normal(light.shape, dtype=np.float32)
    return np.round(light * 255).clip(0, 255).astype(np.uint8)
