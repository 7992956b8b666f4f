"""The two frozen constants that SAM-Path needs of SAM's prompt encoder.

Source   segment_anything/modeling/prompt_encoder.py, without points, boxes or mask prompts.
Weights  convert/sam.py, rows `prompt_encoder.*`.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from sampath_jax.models.config import PROMPT_WIDTH


class PromptEncoder(nnx.Module):
    """The embedding that means "no mask prompt", and random Fourier codes of positions."""

    def __init__(self, width: int = PROMPT_WIDTH, *, rngs: nnx.Rngs):
        self.no_mask_embed = nnx.Param(rngs.params.normal((width,)))
        self.positional_encoding = nnx.Param(rngs.params.normal((2, width // 2)))

    def dense_embedding(self) -> Float[Array, "1 1 1 C"]:
        """What is added to every patch."""
        return self.no_mask_embed[...][None, None, None]

    def dense_positions(self, grid: tuple[int, int]) -> Float[Array, "h w C"]:
        """Codes of the patch centres of a `grid` of (rows, columns)."""
        h, w = grid
        y = jnp.broadcast_to(((jnp.arange(h, dtype=jnp.float32) + 0.5) / h)[:, None], grid)
        x = jnp.broadcast_to(((jnp.arange(w, dtype=jnp.float32) + 0.5) / w)[None], grid)
        return self.encode_positions(jnp.stack([x, y], axis=-1))

    def encode_positions(self, points: Float[Array, "*n 2"]) -> Float[Array, "*n C"]:
        """Codes of `points` = (x, y), as fractions of the image's width and height."""
        frequencies = self.positional_encoding[...]
        centred = (2 * points - 1)[..., None]
        # Written out: as a matrix product, an accelerator would round the angles to few bits.
        along = (1,) * (points.ndim - 1)
        fx, fy = (frequencies[i].reshape(*along, -1) for i in (0, 1))
        angle = 2 * np.pi * (centred[..., 0, :] * fx + centred[..., 1, :] * fy)
        return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)
