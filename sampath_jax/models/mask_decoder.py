"""The mask decoder: one token per mask, a two-way transformer, and a small network per token to draw it.

Source   Kirillov et al. 2023; segment_anything/modeling/mask_decoder.py; SAM-Path for the class tokens.
Differs  the whole batch at once; all masks are returned, the caller selects.
Weights  convert/sam.py, rows `mask_decoder.*`.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from sampath_jax.models.config import PROMPT_WIDTH
from sampath_jax.models.layers import ENCODER_EPS, gelu, layer_norm, linear
from sampath_jax.models.two_way_transformer import TwoWayTransformer


class MaskDecoder(nnx.Module):
    """`num_mask_tokens` masks and their predicted IoUs from a grid of image features.

    SAM has four tokens (a single mask, three alternatives). SAM-Path has k + 2: one whose mask is never read
    (the token still takes part in the attention between tokens), one 'unlabelled', and k classes.
    """

    def __init__(
        self,
        num_mask_tokens: int,
        *,
        width: int = PROMPT_WIDTH,
        heads: int = 8,
        mlp_width: int = 2048,
        rngs: nnx.Rngs,
    ):
        self.iou_token = nnx.Param(rngs.params.normal((1, width)))
        self.mask_tokens = nnx.Param(rngs.params.normal((num_mask_tokens, width)))
        self.transformer = TwoWayTransformer(width, heads, mlp_width, rngs=rngs)
        self.output_upscaling_conv1 = Upscaling(width, width // 4, rngs=rngs)
        self.output_upscaling_norm = layer_norm(width // 4, ENCODER_EPS, rngs=rngs)
        self.output_upscaling_conv2 = Upscaling(width // 4, width // 8, rngs=rngs)
        self.output_hypernetworks_mlps = one_per_mask(num_mask_tokens, width, rngs=rngs)
        self.iou_prediction_head = ThreeLayers(width, num_mask_tokens, rngs=rngs)

    def __call__(
        self,
        grid: Float[Array, "B h w C"],
        positions: Float[Array, "h w C"],
        prompts: Float[Array, "B n C"],
    ) -> tuple[Float[Array, "B H W masks"], Float[Array, "B masks"]]:
        """Masks (logits, four times the grid's size) and IoUs.

        Args:
            grid: image features, with the dense prompt embedding added.
            positions: codes of the grid's positions.
            prompts: sparse prompt tokens; n may be 0.
        """
        batch, h, w, width = grid.shape
        own = jnp.concatenate([self.iou_token[...], self.mask_tokens[...]])
        tokens = jnp.concatenate([jnp.broadcast_to(own[None], (batch, *own.shape)), prompts], axis=1)
        tokens, patches = self.transformer(
            tokens, grid.reshape(batch, h * w, width), positions.reshape(1, h * w, width)
        )
        pixels = self.upscale(patches.reshape(grid.shape))
        per_mask = self.draw(tokens[:, 1 : len(own)])
        masks = jnp.einsum("bhwc,bmc->bhwm", pixels, per_mask)
        return masks, self.iou_prediction_head(tokens[:, 0])

    def upscale(self, grid: Float[Array, "B h w C"]) -> Float[Array, "B H W c"]:
        """Four times as fine, an eighth of the channels."""
        grid = gelu(self.output_upscaling_norm(self.output_upscaling_conv1(grid)))
        return gelu(self.output_upscaling_conv2(grid))

    def draw(self, tokens: Float[Array, "B masks C"]) -> Float[Array, "B masks c"]:
        """The vector that each mask's own network gives for its token."""
        apply = jax.vmap(lambda network, token: network(token), in_axes=(0, 1), out_axes=1)
        return apply(self.output_hypernetworks_mlps, tokens)


class Upscaling(nnx.Module):
    """Transposed convolution 2x2 with stride 2: every pixel becomes a 2x2 square.

    `kernel[y, x]` makes the pixel (2 i + y, 2 j + x) from pixel (i, j). As squares do not overlap it is one
    matrix product, where a general transposed convolution multiplies three zeros for each number.
    """

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), (2, 2, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros((outputs,)))

    def __call__(self, grid: Float[Array, "B h w C"]) -> Float[Array, "B H W c"]:
        """Twice as fine."""
        batch, h, w, _ = grid.shape
        squares = jnp.einsum("bhwi,yxio->bhywxo", grid, self.kernel[...])
        return squares.reshape(batch, 2 * h, 2 * w, -1) + self.bias[...][None, None, None]


class ThreeLayers(nnx.Module):
    """Three dense layers with ReLU between them; `outputs` at the end, without activation."""

    def __init__(self, width: int, outputs: int, *, rngs: nnx.Rngs):
        self.layers = nnx.List([linear(width, size, rngs=rngs) for size in (width, width, outputs)])

    def __call__(self, x: Float[Array, "*B C"]) -> Float[Array, "*B c"]:
        """Applies the layers."""
        first, second, last = self.layers
        return last(jax.nn.relu(second(jax.nn.relu(first(x)))))


def one_per_mask(masks: int, width: int, *, rngs: nnx.Rngs) -> ThreeLayers:
    """`masks` networks in one module: every parameter has a leading axis over them."""

    @nnx.split_rngs(splits=masks)
    @nnx.vmap
    def make(rngs: nnx.Rngs) -> ThreeLayers:
        return ThreeLayers(width, width // 8, rngs=rngs)

    return make(rngs)
