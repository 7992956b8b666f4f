"""Two-way transformer: the tokens and the image grid attend to each other, twice.

Source   Kirillov et al. 2023, appendix A; segment_anything/modeling/transformer.py.
Differs  the whole batch at once.
Weights  convert/sam.py, rows `mask_decoder.transformer.*`.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from sampath_jax.models.layers import DECODER_EPS, layer_norm, linear

Tokens = Float[Array, "B n C"]
Patches = Float[Array, "B m C"]

#: Keys in one group of `attend`.
GROUP = 64


class TwoWayTransformer(nnx.Module):
    """Two layers, then the tokens look at the image once more."""

    def __init__(self, width: int, heads: int, mlp_width: int, *, depth: int = 2, rngs: nnx.Rngs):
        self.layers = nnx.List(
            [TwoWayLayer(width, heads, mlp_width, is_first=i == 0, rngs=rngs) for i in range(depth)]
        )
        self.final_attn_token_to_image = CrossAttention(width, width // 2, heads, rngs=rngs)
        self.norm_final_attn = layer_norm(width, DECODER_EPS, rngs=rngs)

    def __call__(
        self, tokens: Tokens, patches: Patches, patch_positions: Float[Array, "1 m C"]
    ) -> tuple[Tokens, Patches]:
        """Updated tokens and patches. The tokens' own code of position is what they start as."""
        token_positions = tokens
        for layer in self.layers:
            tokens, patches = layer(tokens, patches, token_positions, patch_positions)
        seen = self.final_attn_token_to_image(tokens + token_positions, patches + patch_positions, patches)
        return self.norm_final_attn(tokens + seen), patches


class TwoWayLayer(nnx.Module):
    """Tokens to tokens, tokens to image, MLP on the tokens, image to tokens; each post-normalised."""

    def __init__(self, width: int, heads: int, mlp_width: int, *, is_first: bool, rngs: nnx.Rngs):
        self.is_first = is_first
        self.self_attn = CrossAttention(width, width, heads, rngs=rngs)
        self.norm1 = layer_norm(width, DECODER_EPS, rngs=rngs)
        self.cross_attn_token_to_image = CrossAttention(width, width // 2, heads, rngs=rngs)
        self.norm2 = layer_norm(width, DECODER_EPS, rngs=rngs)
        self.mlp = TokenMlp(width, mlp_width, rngs=rngs)
        self.norm3 = layer_norm(width, DECODER_EPS, rngs=rngs)
        self.cross_attn_image_to_token = CrossAttention(width, width // 2, heads, rngs=rngs)
        self.norm4 = layer_norm(width, DECODER_EPS, rngs=rngs)

    def __call__(
        self,
        tokens: Tokens,
        patches: Patches,
        token_positions: Tokens,
        patch_positions: Float[Array, "1 m C"],
    ) -> tuple[Tokens, Patches]:
        """Positions are added to queries and keys, never to values."""
        if self.is_first:  # SAM's first self-attention has neither positions nor a residual
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            with_positions = tokens + token_positions
            tokens = tokens + self.self_attn(with_positions, with_positions, tokens)
        tokens = self.norm1(tokens)

        keys = patches + patch_positions
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_positions, keys, patches))
        tokens = self.norm3(tokens + self.mlp(tokens))
        patches = patches + self.cross_attn_image_to_token(keys, tokens + token_positions, tokens)
        return tokens, self.norm4(patches)


class CrossAttention(nnx.Module):
    """Multi-head attention between two sequences, `inner` channels wide inside."""

    def __init__(self, width: int, inner: int, heads: int, *, rngs: nnx.Rngs):
        self.heads = heads
        self.q_proj = linear(width, inner, rngs=rngs)
        self.k_proj = linear(width, inner, rngs=rngs)
        self.v_proj = linear(width, inner, rngs=rngs)
        self.out_proj = linear(inner, width, rngs=rngs)

    def __call__(self, q: Tokens, k: Patches, v: Patches) -> Tokens:
        """What each of `q` reads from `v`, as `k` matches it."""
        q, k, v = (
            projection(x).reshape(*x.shape[:2], self.heads, -1)
            for projection, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        mixed = attend(q, k, v)
        return self.out_proj(mixed.reshape(*mixed.shape[:2], -1))


def attend(
    q: Float[Array, "B n heads d"], k: Float[Array, "B m heads d"], v: Float[Array, "B m heads d"]
) -> Float[Array, "B n heads d"]:
    """softmax(q k^T / sqrt(d)) v, the values added up in groups of `GROUP` keys, and then the groups.

    A token reads thousands of patches. Where a matrix library adds them one after the other, their single sum
    is the largest rounding error of the whole head.
    """
    weights = jax.nn.softmax(jnp.einsum("bnhd,bmhd->bhnm", q, k) * q.shape[-1] ** -0.5)
    groups = -(-k.shape[1] // GROUP)
    size = -(-k.shape[1] // groups)
    spare = (0, groups * size - k.shape[1])
    weights = jnp.pad(weights, ((0, 0), (0, 0), (0, 0), spare)).reshape(*weights.shape[:3], groups, size)
    values = jnp.pad(v, ((0, 0), spare, (0, 0), (0, 0))).reshape(len(v), groups, size, *v.shape[2:])
    return jnp.einsum("bhngm,bgmhd->gbnhd", weights, values).sum(0)


class TokenMlp(nnx.Module):
    """Two layers with ReLU."""

    def __init__(self, width: int, inner: int, *, rngs: nnx.Rngs):
        self.lin1 = linear(width, inner, rngs=rngs)
        self.lin2 = linear(inner, width, rngs=rngs)

    def __call__(self, x: Tokens) -> Tokens:
        """Applies the same network to every token."""
        return self.lin2(jax.nn.relu(self.lin1(x)))
