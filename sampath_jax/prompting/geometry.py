"""Between an image's own pixels and SAM's square input: longest side to the input side, padding right, below.

Source   Kirillov et al. 2023, appendix A; the behaviour of segment-anything's `ResizeLongestSide` and of
         `transformers`' SAM image processor (tests compare with the latter).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image

from sampath_jax.models.resize import resize_bilinear


@dataclass(frozen=True)
class Frame:
    """How an image of `height` x `width` pixels lies in the square input of `side` pixels."""

    height: int
    width: int
    side: int

    @classmethod
    def of(cls, image: UInt8[np.ndarray, "H W 3"], side: int) -> "Frame":
        """The frame of an image."""
        return cls(image.shape[0], image.shape[1], side)

    @property
    def resized(self) -> tuple[int, int]:
        """Height and width of the image inside the input; what remains is padding."""
        scale = self.side / max(self.height, self.width)
        return int(self.height * scale + 0.5), int(self.width * scale + 0.5)

    def to_input(self, coordinates: np.ndarray) -> np.ndarray:
        """Maps (x, y) image pixels, any leading shape, to input pixels. Boxes are pairs of points."""
        height, width = self.resized
        return coordinates * np.asarray([width / self.width, height / self.height], coordinates.dtype)

    def resize(self, image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """The image at its size inside the input (Pillow's antialiased bilinear, as SAM was trained with)."""
        height, width = self.resized
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))

    def place(self, image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "1 side side 3"]:
        """The image in the upper left corner of the input."""
        height, width = self.resized
        placed = np.zeros((1, self.side, self.side, 3), np.uint8)
        placed[0, :height, :width] = self.resize(image)
        return placed

    def to_image(self, masks: Float[Array, "n h w"]) -> Float[Array, "n H W"]:
        """Mask logits at the image's own size: to the input's, padding cut off, to the image's (bilinear)."""
        height, width = self.resized
        at_input = resize_bilinear(masks[..., None], (self.side, self.side))[:, :height, :width]
        return resize_bilinear(at_input, (self.height, self.width))[..., 0]


def mask_boxes(masks: jax.Array) -> jax.Array:
    """Inclusive bounding boxes (left, top, right, bottom) of boolean masks [..., H, W]; zeros if empty."""
    rows, columns = masks.any(-1), masks.any(-2)

    def extent(line: jax.Array) -> tuple[jax.Array, jax.Array]:
        return line.argmax(-1), line.shape[-1] - 1 - line[..., ::-1].argmax(-1)

    (top, bottom), (left, right) = extent(rows), extent(columns)
    boxes = jnp.stack([left, top, right, bottom], -1)
    return jnp.where(rows.any(-1)[..., None], boxes, 0)
