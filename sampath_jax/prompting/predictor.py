"""SAM as a user meets it: an image, points or boxes in its pixels, masks at its size."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, UInt8
from numpy.typing import ArrayLike

from sampath_jax.errors import InputError
from sampath_jax.evaluation.images import check_image
from sampath_jax.models.normalise import normalise
from sampath_jax.models.sam import Sam
from sampath_jax.prompting.everything import EverythingOptions, Masks, segment_everything
from sampath_jax.prompting.geometry import Frame
from sampath_jax.prompting.prompts import Prompts, read_prompts
from sampath_jax.prompting.weights import load_sam_model

#: Prompts decoded together where there are several; a lone one, a click, is not made to wait for fifteen.
PROMPTS_PER_BATCH = 16


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
    """SAM with its own prompt encoder and mask decoder, loaded by `sampath_jax.load_sam`.

    Encoder and decoder compile once for each kind of prompt, the way to an image's size once for each size.
    """

    def __init__(self, sam: Sam):
        self._graphdef, state = nnx.split(sam)
        self._state = nnx.as_pure(state)
        self.side = sam.side

    @classmethod
    def load(
        cls, weights: Path | str, *, attention: str = "auto", encoder_dtype: str = "auto"
    ) -> "PromptableSam":
        """Loads a folder written by ``python -m convert.sam``.

        Args:
            weights: the folder.
            attention: as `config.model.attention`.
            encoder_dtype: as `config.model.encoder_dtype`: bfloat16 on accelerators, float32 on CPU.

        Raises:
            InputError: the folder is missing or holds no SAM weights.
        """
        return cls(load_sam_model(Path(weights), attention=attention, encoder_dtype=encoder_dtype))

    @property
    def device(self) -> str:
        """What predicts, such as ``1 x NVIDIA H100``."""
        (device,) = jax.tree.leaves(self._state)[0].devices()
        return f"1 x {device.device_kind}"

    def embed(self, image: np.ndarray) -> Embedded:
        """An image (RGB, uint8 [H, W, 3], any size) for any number of calls of the other methods.

        Raises:
            InputError: another type or shape, or an image too narrow for SAM.
        """
        frame = Frame.of(check_image(image), self.side)
        if 0 in frame.resized:
            raise InputError(
                f"the image is {frame.width} wide and {frame.height} high: with its longer side resized to "
                f"SAM's {self.side} pixels nothing of the shorter one is left; cut it into pieces"
            )
        size = np.asarray(frame.resized, np.int32)
        return Embedded(frame, _embed(self._graphdef, self._state, frame.place(image), size))

    def decode(
        self, embedding: Float[Array, "1 h w 256"], prompts: Prompts
    ) -> tuple[Float[Array, "n 4 H W"], Float[Array, "n 4"]]:
        """Low-resolution logits and predicted IoUs, see `models.sam.Sam.decode`."""
        return _decode(self._graphdef, self._state, embedding, *prompts)

    def predict(
        self,
        image: np.ndarray | Embedded,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        boxes: ArrayLike | None = None,
        masks: ArrayLike | None = None,
        *,
        multimask: bool = True,
        prompts_per_batch: int | None = None,
    ) -> Prediction:
        """Masks for the prompts, each prompt on its own.

        Args:
            image: as for `embed`, or what `embed` returned, to encode it once for several calls.
            points: (x, y) in the image's pixels: [n, 2], one point per prompt, or [n, p, 2].
            labels: [n] or [n, p]; 1 = in the object (default), 0 = not in it.
            boxes: [n, 4], (left, top, right, bottom) in the image's pixels; with points, one box per prompt.
            masks: [n, 256, 256], `Prediction.low_resolution` of an earlier call.
            multimask: three masks per prompt (whole, part, subpart) instead of one.
            prompts_per_batch: prompts decoded together; decides the memory and what compiles, not the result.
                None: one if it is the only one, else `PROMPTS_PER_BATCH`.

        Raises:
            InputError: no prompt, prompts outside the image, or shapes that do not fit together.
        """
        frame, embedding = self._embedded(image)
        prompts = read_prompts(frame, points, labels, boxes, masks)
        size = prompts_per_batch or (1 if prompts.number == 1 else PROMPTS_PER_BATCH)
        chosen = slice(1, None) if multimask else slice(0, 1)
        parts = []
        for real, batch in prompts.batches(size):
            logits, iou = self.decode(embedding, batch)
            answer = (_at_image_size(logits[:, chosen], frame), iou[:, chosen], logits[:, chosen])
            parts.append([np.asarray(array)[:real] for array in answer])
        return Prediction(*map(np.concatenate, zip(*parts, strict=True)))

    def segment_everything(
        self, image: np.ndarray | Embedded, options: EverythingOptions | None = None
    ) -> Masks:
        """All objects of an image without a prompt: see `prompting.everything`.

        Args:
            image: as for `predict`.
            options: None: SAM's own thresholds.

        Raises:
            InputError: as `embed`.
        """
        frame, embedding = self._embedded(image)
        return segment_everything(frame, partial(self.decode, embedding), options or EverythingOptions())

    def _embedded(self, image: np.ndarray | Embedded) -> Embedded:
        return image if isinstance(image, Embedded) else self.embed(image)


@partial(jax.jit, static_argnames="graphdef")
def _embed(
    graphdef, state, placed: UInt8[Array, "1 side side 3"], size: Int[Array, "2"]
) -> Float[Array, "1 h w 256"]:
    """What lies beyond the image's `size` is zero after normalisation: the mean colour."""
    place = jnp.arange(placed.shape[1])
    inside = (place[:, None] < size[0]) & (place[None] < size[1])
    pixels = jnp.where(inside[None, ..., None], normalise(placed), 0)
    return nnx.merge(graphdef, state).embed(pixels)


@partial(jax.jit, static_argnames="graphdef")
def _decode(graphdef, state, embedding, points, labels, boxes, masks):
    return nnx.merge(graphdef, state).decode(embedding, points, labels, boxes, masks)


@partial(jax.jit, static_argnames="frame")
def _at_image_size(logits: Float[Array, "n m h w"], frame: Frame) -> Bool[Array, "n m H W"]:
    """Masks at the image's own size; full-size logits exist for one prompt at a time."""
    return jax.lax.map(lambda low: frame.to_image(low) > 0, logits)
