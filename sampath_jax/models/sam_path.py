"""SAM-Path: two frozen encoders and a trainable head that draws one mask per class.

Source   SAM-Path, Method. `encode` is frozen and may be cached; `decode` is what training differentiates.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, UInt8

from sampath_jax.models.config import SamPathConfig
from sampath_jax.models.hipt_encoder import HiptEncoder
from sampath_jax.models.mask_decoder import MaskDecoder
from sampath_jax.models.neck import Neck
from sampath_jax.models.normalise import normalise
from sampath_jax.models.pieces import by_image
from sampath_jax.models.prompt_encoder import PromptEncoder
from sampath_jax.models.resize import resize_bilinear
from sampath_jax.models.sam_encoder import SamEncoder
from sampath_jax.types import Features, Images, IoU, Logits


class SamPath(nnx.Module):
    """Encoders, neck, prompt constants and mask decoder; `config.encoders` says which encoders there are.

    Pure: no dropout, no batch statistics, no random state, so training and evaluation are the same function.
    """

    def __init__(self, config: SamPathConfig, *, rngs: nnx.Rngs):
        self.config = config
        how: dict[str, Any] = {"attention": config.attention, "dtype": config.compute_dtype}
        if "sam" in config.encoders:
            self.sam_encoder = SamEncoder(config.sam, **how, rngs=rngs)
        if "hipt" in config.encoders:
            self.hipt_encoder = HiptEncoder(config.hipt, **how, rngs=rngs)
        self.prompt_encoder = PromptEncoder(rngs=rngs)
        self.neck = Neck(config.feature_width, rngs=rngs)
        # One token for the mask that SAM-Path never reads, one for 'unlabelled', one per class.
        self.mask_decoder = MaskDecoder(config.num_classes + 2, rngs=rngs)

    def __call__(self, images: Images) -> tuple[Logits, IoU]:
        """`decode(encode(images))`."""
        return self.decode(self.encode(images))

    def encode(self, images: Images) -> Features:
        """Features of tiles on the canvas, in the encoders' type: SAM's channels, then HIPT's.

        Args:
            images: RGB 0..255 of any size; normalised, then resized to the input size, as published.
        """
        return by_image(self._encode, images)

    def _encode(self, images: Images) -> Features:
        pixels = normalise(images)
        if pixels.shape[1:3] != self.config.input_size:
            pixels = resize_bilinear(pixels, self.config.input_size)
        features = []
        if "sam" in self.config.encoders:
            features.append(self.sam_encoder(pixels))
        if "hipt" in self.config.encoders:
            features.append(self.hipt_encoder(pixels))
        return jnp.concatenate(features, axis=-1).astype(self.config.compute_dtype)

    def decode(self, features: Features) -> tuple[Logits, IoU]:
        """Logits at four times the resolution of the features, and IoUs; channel c for label c; float32."""
        batch, h, w, _ = features.shape
        grid = self.neck(features.astype(jnp.float32)) + self.prompt_encoder.dense_embedding()
        no_prompts = jnp.zeros((batch, 0, grid.shape[-1]))
        masks, iou = self.mask_decoder(grid, self.prompt_encoder.dense_positions((h, w)), no_prompts)
        return masks[..., 1:], iou[:, 1:]


def class_map(logits: Float[Array, "B h w C"], size: tuple[int, int]) -> UInt8[Array, "B H W"]:
    """The label of every pixel at `size`: the best class after upsampling, never 0; ties go to the lower."""
    classes = resize_bilinear(logits[..., 1:], size)
    return (jnp.argmax(classes, axis=-1) + 1).astype(jnp.uint8)
