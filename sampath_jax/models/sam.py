"""Promptable SAM: the image encoder with its neck, prompts of points, boxes and masks, and the mask decoder.

Source   Kirillov et al. 2023; segment_anything/modeling/{sam,prompt_encoder}.py.
Differs  channels last; prompts of one image form a batch; absent prompts are None instead of empty.
Weights  convert/sam.py.
"""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from sampath_jax.models.config import PROMPT_WIDTH, SamEncoderConfig
from sampath_jax.models.layers import ENCODER_EPS, gelu, layer_norm
from sampath_jax.models.mask_decoder import MaskDecoder
from sampath_jax.models.neck import Neck
from sampath_jax.models.prompt_encoder import PromptEncoder
from sampath_jax.models.sam_encoder import SamEncoder

#: A single mask, and three alternatives for ambiguous prompts: whole, part, subpart.
SAM_MASK_TOKENS = 4


class Sam(nnx.Module):
    """`embed` an image once, `decode` any number of prompts; `dtype` is that of the encoder's products."""

    def __init__(
        self,
        config: SamEncoderConfig,
        *,
        attention: str = "auto",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.side = config.grid[0] * config.patch
        self.sam_encoder = SamEncoder(config, attention=attention, dtype=dtype, rngs=rngs)
        self.neck = Neck(config.width, rngs=rngs)
        self.prompt_encoder = SamPrompts(rngs=rngs)
        self.mask_decoder = MaskDecoder(SAM_MASK_TOKENS, rngs=rngs)

    def embed(self, pixels: Float[Array, "B side side 3"]) -> Float[Array, "B h w C"]:
        """Embeddings of normalised images, padded with zeros right and below to `side`."""
        return self.neck(self.sam_encoder(pixels))

    def decode(
        self,
        embedding: Float[Array, "1 h w C"],
        points: Float[Array, "n p 2"] | None = None,
        labels: Int[Array, "n p"] | None = None,
        boxes: Float[Array, "n 2 2"] | None = None,
        masks: Float[Array, "n H W"] | None = None,
    ) -> tuple[Float[Array, "n 4 H W"], Float[Array, "n 4"]]:
        """Mask logits at four times the embedding's size and predicted IoUs, four per prompt.

        Args:
            embedding: of one image.
            points: (x, y) in input pixels.
            labels: of the points; 1 = in the object, 0 = not in it.
            boxes: two corners, (left, top) and (right, bottom), in input pixels.
            masks: logits of an earlier answer, four times the embedding's size.
        """
        h, w = embedding.shape[1:3]
        tokens, dense = self.prompt_encoder(points, labels, boxes, masks, side=self.side)
        grid = jnp.broadcast_to(embedding + dense, (len(tokens), h, w, embedding.shape[-1]))
        logits, iou = self.mask_decoder(grid, self.prompt_encoder.dense_positions((h, w)), tokens)
        return jnp.moveaxis(logits, -1, 1), iou


class SamPrompts(PromptEncoder):
    """Points and boxes as tokens, a mask as something added to every patch."""

    def __init__(self, width: int = PROMPT_WIDTH, *, rngs: nnx.Rngs):
        super().__init__(width, rngs=rngs)
        #: Rows: a point not in the object, a point in it, a box's first corner, its second.
        self.point_embeddings = nnx.Param(rngs.params.normal((4, width)))
        self.not_a_point_embed = nnx.Param(rngs.params.normal((width,)))
        self.mask_downscaling = MaskDownscaling(width, rngs=rngs)

    def __call__(
        self,
        points: Float[Array, "n p 2"] | None,
        labels: Int[Array, "n p"] | None,
        boxes: Float[Array, "n 2 2"] | None,
        masks: Float[Array, "n H W"] | None,
        *,
        side: int,
    ) -> tuple[Float[Array, "n t C"], Float[Array, "m h w C"]]:
        """Tokens of points and boxes (t = 0 for masks alone); what is added to the embedding (m = 1 or n)."""
        tokens = []
        if points is not None and labels is not None:
            tokens.append(self.embed_points(points, labels, side))
            if boxes is None:  # SAM marks the end of the points, where a box would follow
                end = self.not_a_point_embed[...][None, None]
                tokens.append(jnp.broadcast_to(end, (len(points), 1, end.shape[-1])))
        if boxes is not None:
            tokens.append(self.encode_pixels(boxes, side) + self.point_embeddings[2:][None])
        if masks is None:
            dense = self.dense_embedding()
        else:
            dense = self.mask_downscaling(masks[..., None])
            tokens = tokens or [jnp.zeros((len(masks), 0, dense.shape[-1]))]
        return jnp.concatenate(tokens, axis=1), dense

    def embed_points(
        self, points: Float[Array, "n p 2"], labels: Int[Array, "n p"], side: int
    ) -> Float[Array, "n p C"]:
        """One token per point: its position and whether it lies in the object."""
        return self.encode_pixels(points, side) + self.point_embeddings[...][labels]

    def encode_pixels(self, points: Float[Array, "n p 2"], side: int) -> Float[Array, "n p C"]:
        """Codes of the centres of the pixels `points` of an input of `side` pixels."""
        return self.encode_positions((points + 0.5) / side)


class MaskDownscaling(nnx.Module):
    """A mask at four times the embedding's size to the embedding's size and width."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        halve = partial(nnx.Conv, kernel_size=(2, 2), strides=(2, 2), padding="VALID", rngs=rngs)
        self.conv1 = halve(1, 4)
        self.norm1 = layer_norm(4, ENCODER_EPS, rngs=rngs)
        self.conv2 = halve(4, 16)
        self.norm2 = layer_norm(16, ENCODER_EPS, rngs=rngs)
        self.conv3 = nnx.Conv(16, width, (1, 1), rngs=rngs)

    def __call__(self, masks: Float[Array, "n H W 1"]) -> Float[Array, "n h w C"]:
        """Applies the layers."""
        x = gelu(self.norm1(self.conv1(masks)))
        return self.conv3(gelu(self.norm2(self.conv2(x))))
