"""SAM as a user meets it: an image, points or boxes in its pixels, masks at its size."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float
from numpy.typing import ArrayLike

from sampath_jax.errors import InputError
from sampath_jax.models.normalise import normalise
from sampath_jax.models.sam import Sam
from sampath_jax.prompting.geometry import Frame
from sampath_jax.prompting.prompts import read_prompts
from sampath_jax.prompting.weights import load_sam_model


class Embedded(NamedTuple):
    """An image that SAM's encoder, nearly all of the work, has seen."""

    frame: Frame  # the image's place in the input
    embedding: Float[Array, "1 h w 256"]


@dataclass(frozen=True)
class Prediction:
    """Masks for each prompt.

    Attributes:
        masks: [prompts, m, H, W] at the image's own size; m = 3 with multiple masks, else 1.
        predicted_iou: [prompts, m].
        low_resolution: [prompts, m, 256, 256] logits, usable as a mask prompt of a next call.
    """

    masks: Bool[np.ndarray, "n m H W"]
    predicted_iou: Float[np.ndarray, "n m"]
    low_resolution: Float[np.ndarray, "n m h w"]

    def best(self) -> Bool[np.ndarray, "n H W"]:
        """For each prompt the mask with the highest predicted IoU."""
        return self.masks[np.arange(len(self.masks)), self.predicted_iou.argmax(axis=1)]


class PromptableSam:
    """SAM with its own prompt encoder and mask decoder, loaded by `sampath_jax.load_sam`."""

    def __init__(self, sam: Sam):
        self.graphdef, state = nnx.split(sam)
        self.state = nnx.as_pure(state)
        self.side = sam.side

    @classmethod
    def load(cls, weights: Path | str) -> "PromptableSam":
        """Loads a folder written by ``python -m convert.sam``.

        Raises:
            InputError: the folder is missing or holds no SAM weights.
        """
        return cls(load_sam_model(Path(weights)))

    def embed(self, image: np.ndarray) -> Embedded:
        """An image (RGB, uint8 [H, W, 3], any size) for any number of calls of `predict`.

        Raises:
            InputError: another type or shape.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InputError(
                f"an image is uint8 [H, W, 3] in RGB, but this is {image.dtype} {list(image.shape)}"
            )
        frame = Frame(image.shape[0], image.shape[1], self.side)
        pixels = normalise(jnp.asarray(frame.resize(image))[None])
        return Embedded(frame, _embed(self.graphdef, self.state, frame.pad(pixels)))

    def predict(
        self,
        image: np.ndarray | Embedded,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        boxes: ArrayLike | None = None,
        masks: ArrayLike | None = None,
        *,
        multimask: bool = True,
    ) -> Prediction:
        """Masks for the prompts, each prompt on its own.

        Args:
            image: as for `embed`, or what `embed` returned, to encode it once for several calls.
            points: (x, y) in the image's pixels: [n, 2], one point per prompt, or [n, p, 2].
            labels: [n] or [n, p]; 1 = in the object (default), 0 = not in it.
            boxes: [n, 4], (left, top, right, bottom) in the image's pixels; with points, one box per prompt.
            masks: [n, 256, 256], `Prediction.low_resolution` of an earlier call.
            multimask: three masks per prompt (whole, part, subpart) instead of one.

        Raises:
            InputError: no prompt, prompts outside the image, or shapes that do not fit together.
        """
        frame, embedding = image if isinstance(image, Embedded) else self.embed(image)
        prompts = read_prompts(frame, points, labels, boxes, masks)
        logits, iou = _decode(self.graphdef, self.state, embedding, *prompts)
        chosen = slice(1, None) if multimask else slice(0, 1)
        logits, iou = logits[:, chosen], iou[:, chosen]
        full = jax.lax.map(lambda low: frame.to_image(low) > 0, logits)
        return Prediction(np.asarray(full), np.asarray(iou), np.asarray(logits))


@partial(jax.jit, static_argnames="graphdef")
def _embed(graphdef, state, pixels):
    return nnx.merge(graphdef, state).embed(pixels)


@partial(jax.jit, static_argnames="graphdef")
def _decode(graphdef, state, embedding, points, labels, boxes, masks):
    return nnx.merge(graphdef, state).decode(embedding, points, labels, boxes, masks)
