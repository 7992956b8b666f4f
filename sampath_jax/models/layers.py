"""What SAM's encoder, HIPT and the mask decoder share: normalisation, MLPs, self-attention.

The encoders keep their residual stream in float32 whatever `dtype` their matrix products run in.
"""

from typing import Any

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


def linear_to_stream(inputs: int, outputs: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> nnx.Linear:
    """The same, with a float32 result: what is added to the residual stream is not rounded before."""
    return nnx.Linear(
        inputs,
        outputs,
        dtype=dtype,
        promote_dtype=_with_float32_bias,
        preferred_element_type=jnp.float32,
        rngs=rngs,
    )


def _with_float32_bias(values: Any, /, *, dtype: Any = None, inexact: bool = True) -> Any:
    """What Flax asks to bring a layer's inputs, kernel and bias into the types to compute in."""
    inputs, kernel, bias = values
    return inputs.astype(dtype), kernel.astype(dtype), bias.astype(jnp.float32)


class PatchEmbedding(nnx.Module):
    """One vector per `patch` x `patch` square of an RGB image: a convolution without overlap, as one product.

    Float32 whatever the encoder's type. It is half a percent of the products, but everything after it is made
    of its result; docs/performance.md has what it would cost in bfloat16.
    """

    def __init__(self, width: int, patch: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(0.02 * rngs.params.normal((patch, patch, 3, width)))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(self, images: Float[Array, "B H W 3"]) -> Float[Array, "B h w C"]:
        """Embeds the whole squares of each image."""
        kernel = self.kernel[...]
        patch = kernel.shape[0]
        h, w = images.shape[1] // patch, images.shape[2] // patch
        whole = images[:, : h * patch, : w * patch]
        squares = whole.reshape(len(images), h, patch, w, patch, 3).swapaxes(2, 3)
        pixels = squares.reshape(len(images), h, w, -1)
        # "high": three passes on a TPU, TensorFloat32 on a GPU.
        embedded = jnp.matmul(pixels, kernel.reshape(-1, kernel.shape[-1]), precision="high")
        return embedded + self.bias[...][None, None, None]


class SelfAttention(nnx.Module):
    """Multi-head self-attention over a sequence, q, k and v from one product."""

    def __init__(self, width: int, heads: int, *, attention: str, dtype: DTypeLike, rngs: nnx.Rngs):
        self.heads = heads
        self.attention = attention
        self.qkv = linear(width, 3 * width, dtype=dtype, rngs=rngs)
        self.proj = linear_to_stream(width, width, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "B n C"],
        rel_h: Float[Array, "rh d"] | None = None,
        rel_w: Float[Array, "rw d"] | None = None,
    ) -> Float[Array, "B n C"]:
        """Attends; with `rel_h` and `rel_w` the sequence is a row-major h x w grid with positions.

        The result is float32, for the residual stream.
        """
        batch, n, width = x.shape
        qkv = self.qkv(x).reshape(batch, n, 3, self.heads, width // self.heads)
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        if rel_h is not None and rel_w is not None:
            rel_h, rel_w = rel_h.astype(q.dtype), rel_w.astype(q.dtype)
        mixed = decomposed_attention(q, k, v, rel_h, rel_w, implementation=self.attention)
        return self.proj(mixed.reshape(batch, n, width))
