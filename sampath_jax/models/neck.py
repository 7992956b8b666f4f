"""The neck: encoder features to the 256 channels that the mask decoder reads.

Source   SAM's own neck (segment_anything/modeling/image_encoder.py) and SAM-Path's: the same layers.
Weights  convert/sam.py, rows `image_encoder.neck.*`; with HIPT it is trained from scratch.
"""

from flax import nnx
from jaxtyping import Array, Float

from sampath_jax.models.config import PROMPT_WIDTH
from sampath_jax.models.convolution import convolve
from sampath_jax.models.layers import ENCODER_EPS, layer_norm


class Neck(nnx.Module):
    """1x1 convolution, normalisation, 3x3 convolution, normalisation; no biases in the convolutions."""

    def __init__(self, features: int, width: int = PROMPT_WIDTH, *, rngs: nnx.Rngs):
        self.conv1 = nnx.Conv(features, width, (1, 1), use_bias=False, rngs=rngs)
        self.norm1 = layer_norm(width, ENCODER_EPS, rngs=rngs)
        self.conv2 = nnx.Conv(width, width, (3, 3), use_bias=False, rngs=rngs)
        self.norm2 = layer_norm(width, ENCODER_EPS, rngs=rngs)

    def __call__(self, features: Float[Array, "B h w F"]) -> Float[Array, "B h w C"]:
        """Reduces the features of every patch, each seeing its eight neighbours."""
        reduced = self.norm1(convolve(features, self.conv1.kernel[...]))
        return self.norm2(convolve(reduced, self.conv2.kernel[...]))
