"""Augmentation on the device: crop, flip, quarter turn, stain and colour jitter, one random key per example.

Drawing is apart from applying: `draw_views` says what happens to each example, `apply_views` does it. Image
and labels share one set of coordinates, and crop, flip and turn are a single resampling.

Source   the published training transform (albumentations 1.3.1): RandomResizedCrop, Flip, RandomRotate90,
         ColorJitter, in this order, with these distributions.
Differs  float32 between the steps, the original rounds to grey levels. Labels take the pixel nearest to where
         the image interpolates; the original's rule lies up to half a source pixel beside it. On a canvas
         that is not square the crop's ratio is relative to the canvas, and turns with it, so that no view is
         stretched beyond the ratio's limits; on a square canvas this is the published rule.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt8
from ml_collections import ConfigDict

from sampath_jax.data.color import HUE, Jitter, Plane, Planes, jitter_color
from sampath_jax.data.stain import scale_stains
from sampath_jax.data.views import DIHEDRAL
from sampath_jax.types import Images, Labels

#: A crop that does not fit is drawn again, this often at most; then the largest centred one is taken.
CROP_ATTEMPTS = 10

Scalar = Float[Array, ""]
#: Top, left, height, width.
Box = tuple[Scalar, Scalar, Scalar, Scalar]


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Section `augment` of the config, as a static value that may be closed over by jitted functions."""

    crop_area: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_probability: float = 0.75
    turn_probability: float = 0.5
    color_probability: float = 0.5
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1
    hue: float = 0.1
    stain: float = 0.0
    enabled: bool = True

    @classmethod
    def from_config(cls, config: ConfigDict) -> "AugmentConfig":
        """Reads `config.augment`."""
        return cls(**{field.name: config[field.name] for field in dataclasses.fields(cls)})


class Placement(NamedTuple):
    """A crop in pixels, flipped, turned counter-clockwise by `turns` quarters, stretched to the canvas."""

    top: Float[Array, "*B"]
    left: Float[Array, "*B"]
    height: Float[Array, "*B"]
    width: Float[Array, "*B"]
    flip_rows: Bool[Array, "*B"]
    flip_columns: Bool[Array, "*B"]
    turns: Int[Array, "*B"]


class View(NamedTuple):
    """All that happens to one example; `None` where the config never changes colour or stain."""

    placement: Placement
    jitter: Jitter | None
    stain: Float[Array, "*B 2"] | None


def example_keys(
    seed: int | Int[Array, ""], epoch: Int[Array, " B"], index: Int[Array, " B"]
) -> Key[Array, " B"]:
    """One key per example: it depends on the seed, the epoch and the tile, never on the batch it is in."""
    key = jax.random.key(seed)
    return jax.vmap(lambda e, i: jax.random.fold_in(jax.random.fold_in(key, e), i))(epoch, index)


def augment(
    keys: Key[Array, " B"], images: Images, labels: Labels, config: AugmentConfig
) -> tuple[Float[Array, "B H W 3"], Labels]:
    """Random views of a batch: float32 images, 0..255, and labels. Under `jit`, `config` is static."""
    if not config.enabled:
        return images.astype(jnp.float32), labels
    height, width = labels.shape[1:]
    return apply_views(images, labels, draw_views(keys, (height, width), config))


def draw_views(keys: Key[Array, " B"], size: tuple[int, int], config: AugmentConfig) -> View:
    """A random view per key, for a canvas of `size` (height, width)."""
    return jax.vmap(lambda key: _draw_view(key, size, config))(keys)


def fixed_views(
    keys: Key[Array, " B"], numbers: Int[Array, " B"], size: tuple[int, int], config: AugmentConfig
) -> View:
    """View `numbers[b]` of example b, of a fixed set that can be cached.

    Numbers 0 to 7 are the whole tile, turned by `number % 4` quarters, mirrored from 4 on; 0 is the tile as
    it is. Numbers from 8 on are random views. A tile's set stays the same over epochs if its key does:
    ``example_keys(seed, jnp.zeros_like(epoch), index)``.
    """

    def view(key: Key[Array, ""], number: Int[Array, ""]) -> View:
        drawn = _draw_view(jax.random.fold_in(key, number), size, config)
        whole = _whole_view(number, size, config)
        return jax.tree.map(lambda w, d: jnp.where(number < DIHEDRAL, w, d), whole, drawn)

    return jax.vmap(view)(keys, numbers)


def apply_views(
    images: UInt8[Array, "B H W 3"], labels: UInt8[Array, "B H W"], views: View
) -> tuple[Float[Array, "B H W 3"], UInt8[Array, "B H W"]]:
    """Applies one view per example; the images come back as float32, 0..255."""
    return view_images(images, views), view_labels(labels, views)


def view_images(images: UInt8[Array, "B H W 3"], views: View) -> Float[Array, "B H W 3"]:
    """The images of `apply_views`, for those who have the labels already."""

    def apply(image: UInt8[Array, "H W 3"], view: View) -> Float[Array, "H W 3"]:
        placed = _place_image(image, _taps_of(view.placement, (image.shape[0], image.shape[1])))
        if view.stain is not None:
            placed = scale_stains(placed, view.stain)
        if view.jitter is not None:
            placed = jitter_color(placed, view.jitter)
        return jnp.stack(placed, axis=-1)

    return jax.vmap(apply)(images, views)


def view_labels(labels: UInt8[Array, "B H W"], views: View) -> UInt8[Array, "B H W"]:
    """The labels of `apply_views`, for those who have the images, or their features, already."""

    def apply(label: UInt8[Array, "H W"], view: View) -> UInt8[Array, "H W"]:
        return _place_labels(label, _taps_of(view.placement, (label.shape[0], label.shape[1])))

    return jax.vmap(apply)(labels, views)


#: Uniform numbers that a view is made of. They are drawn in one call: the generator is a long program, one
#: call for each would take several times longer to compile.
UNIFORMS = {
    "area": CROP_ATTEMPTS,
    "ratio": CROP_ATTEMPTS,
    "place": 2,
    "flip": 2,
    "turn": 2,
    "jitter": 5,
    "order": 4,
    "stain": 2,
}


def _draw_view(key: Key[Array, ""], size: tuple[int, int], config: AugmentConfig) -> View:
    numbers = jax.random.uniform(key, (sum(UNIFORMS.values()),))
    u = dict(zip(UNIFORMS, jnp.split(numbers, np.cumsum([*UNIFORMS.values()])[:-1]), strict=True))
    turns = _draw_turns(u["turn"], config.turn_probability)
    box = _draw_crop(u["area"], u["ratio"], u["place"], size, turns, config)
    placement = Placement(*box, *_draw_flips(u["flip"], config.flip_probability), turns)
    jitter = _draw_jitter(u["jitter"], u["order"], config) if config.color_probability > 0 else None
    stain = 1 + config.stain * (2 * u["stain"] - 1) if config.stain > 0 else None
    return View(placement, jitter, stain)


def _whole_view(number: Int[Array, ""], size: tuple[int, int], config: AugmentConfig) -> View:
    turns = number % 4
    aspect = _aspect(size, turns)
    box = _largest_centred(size, aspect, aspect)
    placement = Placement(*box, jnp.array(False), number // 4 == 1, turns)
    jitter = Jitter(_neutral(), jnp.arange(4, dtype=jnp.int32)) if config.color_probability > 0 else None
    return View(placement, jitter, jnp.ones(2) if config.stain > 0 else None)


def _neutral() -> Float[Array, "4"]:
    return jnp.ones(4).at[HUE].set(0.0)


def _draw_turns(u: Float[Array, "2"], probability: float) -> Int[Array, ""]:
    """As often as `probability` a turn by k = 0, 1, 2 or 3 quarters, each as likely."""
    return jnp.where(u[0] < probability, jnp.floor(4 * u[1]), 0).astype(jnp.int32)


def _draw_flips(u: Float[Array, "2"], probability: float) -> tuple[Bool[Array, ""], Bool[Array, ""]]:
    """As often as `probability` a flip of the rows, of the columns, or of both, each as likely."""
    flip, kind = u[0] < probability, jnp.floor(3 * u[1])
    return flip & (kind != 1), flip & (kind != 0)


def _draw_jitter(u: Float[Array, "5"], order: Float[Array, "4"], config: AugmentConfig) -> Jitter:
    """As often as `color_probability` four amounts; the order of four random numbers is a random order."""
    spread = jnp.array([config.brightness, config.contrast, config.saturation, config.hue], jnp.float32)
    amount = _neutral() + spread * (2 * u[1:] - 1)
    amount = jnp.where(u[0] < config.color_probability, amount, _neutral())
    return Jitter(amount, jnp.argsort(order).astype(jnp.int32))


def _aspect(size: tuple[int, int], turns: Int[Array, ""]) -> Float[Array, ""]:
    """Width over height of a crop that, once turned, has the canvas's shape."""
    return jnp.where(turns % 2 == 1, size[0] / size[1], size[1] / size[0])


def _draw_crop(
    area: Float[Array, " n"],
    ratio: Float[Array, " n"],
    place: Float[Array, "2"],
    size: tuple[int, int],
    turns: Int[Array, ""],
    config: AugmentConfig,
) -> Box:
    """A crop in whole pixels: area uniform, ratio log-uniform, the first of n draws that fits, anywhere."""
    smallest, largest = config.crop_area
    low, high = config.crop_ratio
    aspect = _aspect(size, turns)
    area = (smallest + (largest - smallest) * area) * (size[0] * size[1])
    ratio = low * (high / low) ** ratio * aspect
    heights, widths = jnp.round(jnp.sqrt(area / ratio)), jnp.round(jnp.sqrt(area * ratio))
    fits = (heights >= 1) & (widths >= 1) & (heights <= size[0]) & (widths <= size[1])
    first = jnp.argmax(fits)
    height, width = heights[first], widths[first]
    room = jnp.stack([size[0] - height, size[1] - width])
    top, left = jnp.minimum(jnp.floor(place * (room + 1)), room)
    centred = _largest_centred(size, low * aspect, high * aspect)
    top, left, height, width = (
        jnp.where(fits[first], d, c) for d, c in zip((top, left, height, width), centred, strict=True)
    )
    return top, left, height, width


def _largest_centred(size: tuple[int, int], low: Float[Array, ""], high: Float[Array, ""]) -> Box:
    """The largest crop in the middle whose width over height lies in `low` .. `high`."""
    rows, columns = jnp.float32(size[0]), jnp.float32(size[1])
    height = jnp.minimum(rows, jnp.round(columns / low))
    width = jnp.minimum(columns, jnp.round(rows * high))
    return jnp.floor((rows - height) / 2), jnp.floor((columns - width) / 2), height, width


class _Taps(NamedTuple):
    """Source pixels along one axis: `part` of the way from `low` to `high`; and the nearest one."""

    low: Int[Array, " n"]
    high: Int[Array, " n"]
    part: Float[Array, " n"]
    nearest: Int[Array, " n"]


class _Resampling(NamedTuple):
    """Where the pixels of a placed tile come from, in the source or, if `transposed`, its transpose."""

    transposed: Bool[Array, ""]
    y: _Taps
    x: _Taps


def _taps_of(placement: Placement, size: tuple[int, int]) -> _Resampling:
    """Crop, flips, turn and stretch as one resampling, shared by image and labels.

    An odd turn is a transposition and a flip, so rows and columns stay separate: each row of the result comes
    from one row of the source, or of the transposed source, whatever the column.
    """
    p, (height, width) = placement, size
    odd = p.turns % 2 == 1
    top, left = jnp.where(odd, p.left, p.top), jnp.where(odd, p.top, p.left)
    tall, wide = jnp.where(odd, p.width, p.height), jnp.where(odd, p.height, p.width)
    flip_y = jnp.where(odd, p.flip_columns, p.flip_rows) ^ ((p.turns == 1) | (p.turns == 2))
    flip_x = jnp.where(odd, p.flip_rows, p.flip_columns) ^ ((p.turns == 2) | (p.turns == 3))
    return _Resampling(odd, _taps(height, top, tall, flip_y), _taps(width, left, wide, flip_x))


def _place_image(image: UInt8[Array, "H W 3"], at: _Resampling) -> Planes:
    """Bilinear."""
    planes = (_transpose_if(at.transposed, image[..., c]) for c in range(3))
    red, green, blue = (_bilinear(plane, at.y, at.x) for plane in planes)
    return red, green, blue


def _place_labels(labels: UInt8[Array, "H W"], at: _Resampling) -> UInt8[Array, "H W"]:
    """The nearest pixel."""
    return _transpose_if(at.transposed, labels)[at.y.nearest][:, at.x.nearest]


def _transpose_if(odd: Bool[Array, ""], plane: UInt8[Array, "H W"]) -> UInt8[Array, "S S"]:
    """Swaps rows and columns where `odd`; a tile that is not square is padded to one first."""
    height, width = plane.shape
    side = max(height, width)
    plane = jnp.pad(plane, [(0, side - height), (0, side - width)])
    return jnp.where(odd, plane.T, plane)


def _taps(n: int, start: Float[Array, ""], length: Float[Array, ""], flip: Bool[Array, ""]) -> _Taps:
    """Pixel centres of `n` pixels spread over `length` source pixels from `start`; never outside the crop."""
    index = jnp.arange(n, dtype=jnp.float32)
    index = jnp.where(flip, n - 1 - index, index)
    last = start + length - 1
    at = jnp.clip(start + (index + 0.5) * (length / n) - 0.5, start, last)
    low = jnp.floor(at)
    high, nearest = jnp.minimum(low + 1, last), jnp.floor(at + 0.5)
    return _Taps(low.astype(jnp.int32), high.astype(jnp.int32), at - low, nearest.astype(jnp.int32))


def _bilinear(plane: UInt8[Array, "S S"], y: _Taps, x: _Taps) -> Plane:
    above, below = plane[y.low].astype(jnp.float32), plane[y.high].astype(jnp.float32)
    rows = above + (below - above) * y.part[:, None]
    return rows[:, x.low] + (rows[:, x.high] - rows[:, x.low]) * x.part[None, :]
