"""SAM's image encoder: a vision transformer over a grid of patches, windowed or global. Frozen.

Source   Kirillov et al. 2023; segment_anything/modeling/image_encoder.py.
Differs  channels last; ends before the neck, which is a module of its own (`neck.py`).
Weights  convert/sam.py, rows `image_encoder.*`.
"""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from sampath_jax.models import windows
from sampath_jax.models.config import SamEncoderConfig
from sampath_jax.models.layers import (
    ENCODER_EPS,
    PatchEmbedding,
    SelfAttention,
    gelu,
    layer_norm,
    linear,
    linear_to_stream,
)
from sampath_jax.models.pieces import by_pieces
from sampath_jax.models.positions import relative_positions, sam_positions


class SamEncoder(nnx.Module):
    """Tokens before the neck, one per patch.

    Inputs of another size than in pretraining are possible: the position tables keep that size in the
    parameters and are interpolated when used (`positions.py`).
    """

    def __init__(
        self,
        config: SamEncoderConfig,
        *,
        attention: str = "auto",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.patch_embed = PatchEmbedding(config.width, config.patch, rngs=rngs)
        self.pos_embed = nnx.Param(0.02 * rngs.params.normal((1, *config.grid, config.width)))
        self.blocks = nnx.List(
            [
                SamBlock(
                    config, is_global=i in config.global_blocks, attention=attention, dtype=dtype, rngs=rngs
                )
                for i in range(config.depth)
            ]
        )

    def __call__(self, images: Float[Array, "B H W 3"]) -> Float[Array, "B h w C"]:
        """Encodes ImageNet-normalised images; float32 whatever the type of the products."""
        x = self.embed(images)
        for block in self.blocks:
            x = block(x)
        return x

    def embed(self, images: Float[Array, "B H W 3"]) -> Float[Array, "B h w C"]:
        """Patches with their absolute positions."""
        x = self.patch_embed(images)
        return x + sam_positions(self.pos_embed[...], (x.shape[1], x.shape[2]))


class SamBlock(nnx.Module):
    """Pre-norm transformer block on a grid, attending inside windows or everywhere."""

    def __init__(
        self, config: SamEncoderConfig, *, is_global: bool, attention: str, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        self.window = 0 if is_global else config.window
        sides = config.grid if is_global else (config.window, config.window)
        self.norm1 = layer_norm(config.width, ENCODER_EPS, rngs=rngs)
        self.attn = GridAttention(
            config.width, config.heads, sides, attention=attention, dtype=dtype, rngs=rngs
        )
        self.norm2 = layer_norm(config.width, ENCODER_EPS, rngs=rngs)
        self.mlp = SamMlp(config.width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h w C"]:
        """Adds attention, then the MLP."""
        batch, h, w, width = x.shape
        y = self.norm1(x)
        if self.window:
            # The border comes after the normalisation and takes part in attention: zeros have q, k, v = bias.
            squares = windows.partition(y, self.window)
            y = windows.unpartition(by_pieces(self._attend_in_windows, squares), (h, w))
        else:
            y = self.attn(y)
        x = x + y
        return by_pieces(self._add_mlp, x.reshape(batch, h * w, width)).reshape(x.shape)

    def _attend_in_windows(self, squares: Float[Array, "B n s s C"]) -> Float[Array, "B n s s C"]:
        return self.attn(squares.reshape(-1, *squares.shape[2:])).reshape(squares.shape)

    def _add_mlp(self, x: Float[Array, "B n C"]) -> Float[Array, "B n C"]:
        return x + self.mlp(self.norm2(x))


class GridAttention(SelfAttention):
    """Self-attention over a grid with SAM's decomposed relative positions.

    The logits are q.k / sqrt(d) + q.rel_h[row of q, row of k] + q.rel_w[column of q, column of k], the last
    two with the unscaled q. `sides` are the rows and columns of the grid in pretraining.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        sides: tuple[int, int],
        *,
        attention: str,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        super().__init__(width, heads, attention=attention, dtype=dtype, rngs=rngs)
        self.rel_pos_h = nnx.Param(0.02 * rngs.params.normal((2 * sides[0] - 1, width // heads)))
        self.rel_pos_w = nnx.Param(0.02 * rngs.params.normal((2 * sides[1] - 1, width // heads)))

    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h w C"]:  # type: ignore[override]
        """Attends over the whole grid."""
        batch, h, w, width = x.shape
        rel_h = relative_positions(self.rel_pos_h[...], h)
        rel_w = relative_positions(self.rel_pos_w[...], w)
        return super().__call__(x.reshape(batch, h * w, width), rel_h, rel_w).reshape(x.shape)


class SamMlp(nnx.Module):
    """Two layers with GELU, four times as wide inside."""

    def __init__(self, width: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        self.lin1 = linear(width, 4 * width, dtype=dtype, rngs=rngs)
        self.lin2 = linear_to_stream(4 * width, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "B n C"]) -> Float[Array, "B n C"]:
        """Applies the same network to every patch."""
        return self.lin2(gelu(self.lin1(x)))
