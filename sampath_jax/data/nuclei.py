"""Nuclei of stylised H&E tissue: ellipses, their places and their looks. `px` is pixels per micrometre."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Nuclei(NamedTuple):
    """Ellipses, in pixels; `angle` is that of the long axis, `dark` the haematoxylin at the centre."""

    centre: Float[np.ndarray, "n 2"]
    radii: Float[np.ndarray, "n 2"]
    angle: Float[np.ndarray, " n"]
    dark: Float[np.ndarray, " n"]


def joined(groups: Iterable[Nuclei]) -> Nuclei:
    """All nuclei of several groups."""
    return Nuclei(*(np.concatenate(parts) for parts in zip(*groups, strict=True)))


def palisade(rng: np.random.Generator, outline: Float[np.ndarray, "n 2"], px: float) -> Nuclei:
    """Nuclei side by side along the base of a gland's cells, pointing inwards, in one or two rows."""
    closed = np.concatenate([outline, outline[:1]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    rows = []
    for depth, keep in ((5.5, 1.0), (9.5, 0.35)):
        at = np.arange(0, length[-1] - 3 * px, 5.6 * px)
        at = (at + rng.uniform(-1, 1, len(at)) * px)[rng.random(len(at)) < keep]
        point = np.stack([np.interp(at, length, closed[:, i]) for i in (0, 1)], 1)
        ahead = np.stack([np.interp(at + px, length, closed[:, i]) for i in (0, 1)], 1)
        tangent = (ahead - point) / np.maximum(np.linalg.norm(ahead - point, axis=1, keepdims=True), 1e-6)
        inward = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
        n = len(at)
        centre = point + inward * (depth + rng.uniform(-1.2, 1.2, (n, 1))) * px
        radii = np.stack([rng.uniform(3.6, 5.2, n), rng.uniform(2.1, 2.8, n)], 1) * px
        angle = np.arctan2(inward[:, 1], inward[:, 0]) + rng.normal(0, 0.2, n)
        rows.append(Nuclei(centre, radii, angle, rng.uniform(0.75, 1.15, n)))
    return joined(rows)


def scattered(
    rng: np.random.Generator, size: tuple[int, int], spacing: float, keep: float
) -> Float[np.ndarray, "n 2"]:
    """Points (x, y) inside the tile on a shaken hexagonal grid, of which the share `keep` stays."""
    height, width = size
    y, x = np.meshgrid(
        np.arange(0, height + spacing, spacing * 0.866), np.arange(0, width + spacing, spacing), indexing="ij"
    )
    x = x + spacing / 2 * (np.arange(len(y)) % 2)[:, None]
    points = np.stack([x, y], -1).reshape(-1, 2)
    points = points + rng.uniform(-0.3, 0.3, points.shape) * spacing - rng.random(2) * spacing / 2
    inside = (points >= 0).all(1) & (points < (width, height)).all(1) & (rng.random(len(points)) < keep)
    return points[inside]


def stamp(size: tuple[int, int], nuclei: Nuclei, px: float) -> Float[np.ndarray, "H W"]:
    """The nuclei's haematoxylin: ellipses with soft rims and darker membranes."""
    height, width = size
    drawn = np.zeros(size, np.float32)
    edge = max(0.7, 0.35 * px)
    for (x, y), (long, short), angle, dark in zip(*nuclei, strict=True):
        reach = long + edge + 1
        top, left = max(int(y - reach), 0), max(int(x - reach), 0)
        bottom, right = min(int(y + reach) + 2, height), min(int(x + reach) + 2, width)
        if bottom <= top or right <= left:
            continue
        dy, dx = np.arange(top, bottom)[:, None] - y, np.arange(left, right)[None] - x
        u, v = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
        distance = np.sqrt((u / long) ** 2 + (v / short) ** 2)
        inside = np.clip((1 - distance) * min(long, short) / edge + 0.5, 0, 1)
        patch = drawn[top:bottom, left:right]
        np.maximum(patch, dark * inside * (0.82 + 0.25 * distance**3), out=patch)
    return drawn
