"""HIPT's ViT-S/16 as a dense encoder: the whole tile is one sequence, one vector per patch comes out. Frozen.

Source   Chen et al. 2022 (HIPT), trained with DINO; used by SAM-Path as its pathology encoder.
Differs  channels last; no classification, no dropout.
Weights  convert/hipt.py.
"""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from sampath_jax.models.config import HiptConfig
from sampath_jax.models.layers import (
    ENCODER_EPS,
    PatchEmbedding,
    SelfAttention,
    gelu,
    layer_norm,
    linear,
    linear_to_stream,
)
from sampath_jax.models.normalise import imagenet_to_hipt
from sampath_jax.models.pieces import by_pieces
from sampath_jax.models.positions import hipt_positions


class HiptEncoder(nnx.Module):
    """Normalised patch tokens of the last block, the class token dropped."""

    def __init__(
        self, config: HiptConfig, *, attention: str = "auto", dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs
    ):
        self.grid = config.grid
        self.cls_token = nnx.Param(0.02 * rngs.params.normal((1, 1, config.width)))
        self.pos_embed = nnx.Param(0.02 * rngs.params.normal((1, 1 + config.grid**2, config.width)))
        self.patch_embed = PatchEmbedding(config.width, config.patch, rngs=rngs)
        self.blocks = nnx.List(
            [HiptBlock(config, attention=attention, dtype=dtype, rngs=rngs) for _ in range(config.depth)]
        )
        self.norm = layer_norm(config.width, ENCODER_EPS, rngs=rngs)

    def __call__(self, images: Float[Array, "B H W 3"]) -> Float[Array, "B h w C"]:
        """Encodes ImageNet-normalised images; float32 whatever the type of the products."""
        x, grid = self.embed(images)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 1:].reshape(x.shape[0], *grid, x.shape[2])

    def embed(self, images: Float[Array, "B H W 3"]) -> tuple[Float[Array, "B n C"], tuple[int, int]]:
        """Class token and patches (row-major) with their positions, and the grid's (rows, columns)."""
        patches = self.patch_embed(imagenet_to_hipt(images))
        batch, h, w, width = patches.shape
        first = jnp.broadcast_to(self.cls_token[...], (batch, 1, width))
        tokens = jnp.concatenate([first, patches.reshape(batch, h * w, width)], axis=1)
        return tokens + hipt_positions(self.pos_embed[...], (h, w), self.grid), (h, w)


class HiptBlock(nnx.Module):
    """Pre-norm transformer block on a sequence."""

    def __init__(self, config: HiptConfig, *, attention: str, dtype: DTypeLike, rngs: nnx.Rngs):
        self.norm1 = layer_norm(config.width, ENCODER_EPS, rngs=rngs)
        self.attn = SelfAttention(config.width, config.heads, attention=attention, dtype=dtype, rngs=rngs)
        self.norm2 = layer_norm(config.width, ENCODER_EPS, rngs=rngs)
        self.mlp = HiptMlp(config.width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "B n C"]) -> Float[Array, "B n C"]:
        """Adds attention, then the MLP."""
        return by_pieces(self._add_mlp, x + self.attn(self.norm1(x)))

    def _add_mlp(self, x: Float[Array, "B n C"]) -> Float[Array, "B n C"]:
        return x + self.mlp(self.norm2(x))


class HiptMlp(nnx.Module):
    """Two layers with GELU, four times as wide inside."""

    def __init__(self, width: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        self.fc1 = linear(width, 4 * width, dtype=dtype, rngs=rngs)
        self.fc2 = linear_to_stream(4 * width, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "B n C"]) -> Float[Array, "B n C"]:
        """Applies the same network to every token."""
        return self.fc2(gelu(self.fc1(x)))
