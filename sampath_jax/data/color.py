"""Colour jitter: brightness, contrast, saturation and hue of RGB images, 0..255, one after the other.

Source   torchvision's ColorJitter as albumentations 1.3.1 computes it: every step clips to 0..255, contrast
         pulls towards the mean grey, saturation towards each pixel's grey, hue turns in OpenCV's HSV.
Differs  float32 throughout; the original rounds to whole grey levels (hue: to 2 degrees) after every step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
#: Luma of ITU-R BT.601, OpenCV's grey.
GREY = (0.299, 0.587, 0.114)

Plane = Float[Array, "H W"]
#: Red, green, blue. Apart, because on CPU channels last is several times slower to calculate with.
Planes = tuple[Plane, Plane, Plane]


class Jitter(NamedTuple):
    """`amount[op]` is a factor, 1 changes nothing; for hue, turns of the circle. `order` lists the ops."""

    amount: Float[Array, "*B 4"]
    order: Int[Array, "*B 4"]


def jitter_color(image: Planes, jitter: Jitter) -> Planes:
    """Applies the four ops in `jitter.order`.

    The order is data, not program: every step computes the formula that brightness, contrast and saturation
    share, and the hue turn, and picks.
    """

    def apply(step: Int[Array, ""], image: Planes) -> Planes:
        red, green, blue = image
        op = jitter.order[step]
        grey = GREY[0] * red + GREY[1] * green + GREY[2] * blue
        towards = jnp.where(op == SATURATION, grey, jnp.where(op == CONTRAST, grey.mean(), 0.0))
        turned = turn_hue(image, jitter.amount[HUE])
        mixed = (jnp.clip(towards + (c - towards) * jitter.amount[op], 0, 255) for c in image)
        red, green, blue = (jnp.where(op == HUE, t, m) for t, m in zip(turned, mixed, strict=True))
        return red, green, blue

    return jax.lax.fori_loop(0, 4, apply, image)


def turn_hue(image: Planes, turns: Float[Array, ""]) -> Planes:
    """Turns the hue by a part of the colour circle; value and saturation, in the sense of HSV, stay."""
    red, green, blue = image
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    scale = 1 / jnp.where(chroma > 0, chroma, 1)
    sextant = jnp.where(
        value == red,
        (green - blue) * scale,
        jnp.where(value == green, 2 + (blue - red) * scale, 4 + (red - green) * scale),
    )
    sextant = sextant + 6 * turns

    def channel(offset: int) -> Plane:
        at = sextant + offset
        at = at - 6 * jnp.floor(at / 6)
        return value - chroma * jnp.clip(jnp.minimum(at, 4 - at), 0, 1)

    return channel(5), channel(3), channel(1)
