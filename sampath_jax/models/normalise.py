"""Pixel values to what each encoder was trained on."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sampath_jax.types import Images

#: Of ImageNet, in units of full intensity; also SAM's `pixel_mean` and `pixel_std`.
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)
#: HIPT was trained on inputs scaled to [-1, 1].
HIPT_MEAN = HIPT_STD = 0.5


def normalise(images: Images) -> Float[Array, "B H W 3"]:
    """RGB 0..255 to ImageNet statistics, in float32, by the published formula to the last bit."""
    mean, scale = np.float32(255) * IMAGENET_MEAN, 1 / (np.float32(255) * IMAGENET_STD)
    return (images.astype(jnp.float32) - _per_channel(mean)) * _per_channel(scale)


def imagenet_to_hipt(images: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """ImageNet-normalised images to HIPT's scale of [-1, 1]."""
    return (images * _per_channel(IMAGENET_STD) + _per_channel(IMAGENET_MEAN) - HIPT_MEAN) / HIPT_STD


def _per_channel(values: np.ndarray) -> Float[Array, "1 1 1 3"]:
    return jnp.asarray(values)[None, None, None]
