"""What SAM's encoder, HIPT and the mask decoder share: normalisation, MLPs, self-attention.

The encoders keep their residual stream in float32 whatever `dtype` their matrix products run in.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from sampath_jax.models.attention import decomposed_attention

#: Set explicitly by SAM and HIPT for their encoders, and by SAM's `LayerNorm2d`.
ENCODER_EPS = 1e-6
#: torch's default, used by SAM's two-way transformer.
DECODER_EPS = 1e-5


def layer_norm(width: int, epsilon: float, *, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Normalisation over channels in float32; on channels-last grids also SAM's `LayerNorm2d`.

    The two-pass variance is needed: flax's fast one loses the digits that large means take.
    """
    return nnx.LayerNorm(width, epsilon=epsilon, use_fast_variance=False, rngs=rngs)


def gelu(x: Array) -> Array:
    """The exact GELU (erf), computed in float32; jax's default is the tanh approximation."""
    return jax.nn.gelu(x.astype(jnp.float32), approximate=False).astype(x.dtype)


def linear(inputs: int, outputs: int, *, rngs: nnx.Rngs, dtype: DTypeLike = jnp.float32) -> nnx.Linear:
    """A dense layer with bias; float32 parameters, products in `dtype`."""
    return nnx.Linear(inputs, outputs, dtype=dtype, rngs=rngs)


def patch_embedding(width: int, patch: int, *, dtype: DTypeLike, rngs: nnx.Rngs) -> nnx.Conv:
    """One vector per `patch` x `patch` square of an RGB image."""
    size = (patch, patch)
    return nnx.Conv(3, width, size, strides=size, padding="VALID", dtype=dtype, rngs=rngs)


class SelfAttention(nnx.Module):
    """Multi-head self-attention over a sequence, q, k and v from one product."""

    def __init__(self, width: int, heads: int, *, attention: str, dtype: DTypeLike, rngs: nnx.Rngs):
        self.heads = heads
        self.attention = attention
        self.qkv = linear(width, 3 * width, dtype=dtype, rngs=rngs)
        self.proj = linear(width, width, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "B n C"],
        rel_h: Float[Array, "rh d"] | None = None,
        rel_w: Float[Array, "rw d"] | None = None,
    ) -> Float[Array, "B n C"]:
        """Attends; with `rel_h` and `rel_w` the sequence is a row-major h x w grid with positions."""
        batch, n, width = x.shape
        qkv = self.qkv(x).reshape(batch, n, 3, self.heads, width // self.heads)
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        if rel_h is not None and rel_w is not None:
            rel_h, rel_w = rel_h.astype(q.dtype), rel_w.astype(q.dtype)
        mixed = decomposed_attention(q, k, v, rel_h, rel_w, implementation=self.attention)
        return self.proj(mixed.reshape(batch, n, width))
