"""Vanilla SAM with one dot per object as a semantic segmenter (the paper's section 3.2)."""

import time

import numpy as np
from jaxtyping import Array, Bool, Shaped
from ml_collections import ConfigDict

from sampath_jax.drawing import Picture
from sampath_jax.prompting.geometry import Frame
from sampath_jax.prompting.predictor import PROMPTS_PER_BATCH, Embedded, PromptableSam


class DotSegmenter:
    """Vanilla SAM on a tile with a dot per object: the union of one mask per dot.

    Args:
        sam: what is asked.
        multimask: of SAM's three masks for a dot the one that it rates best, else its single mask.
        largest_share: masks that cover a larger share of the image are dropped (the paper's post-processing).
    """

    def __init__(self, sam: PromptableSam, *, multimask: bool, largest_share: float):
        self._sam, self._multimask, self._largest_share = sam, multimask, largest_share
        self._compiled: set[Frame] = set()
        self._embedding: Array | None = None

    @classmethod
    def from_config(cls, sam: PromptableSam, config: ConfigDict) -> "DotSegmenter":
        """As `config.baseline` says."""
        baseline = config.baseline
        return cls(sam, multimask=baseline.multimask, largest_share=baseline.largest_share)

    def segment(self, image: Picture | Embedded, dots: Shaped[np.ndarray, "n 2"]) -> Bool[np.ndarray, "H W"]:
        """Where at least one mask is; masks of all dots are never in memory together."""
        embedded = image if isinstance(image, Embedded) else self._sam.embed(image)
        found = np.zeros((embedded.frame.height, embedded.frame.width), bool)
        for start in range(0, len(dots), PROMPTS_PER_BATCH):
            masks = self._sam.predict(
                embedded,
                points=dots[start : start + PROMPTS_PER_BATCH],
                multimask=self._multimask,
                prompts_per_batch=PROMPTS_PER_BATCH,
            ).best()
            found |= masks[masks.mean(axis=(1, 2)) <= self._largest_share].any(axis=0)
        return found

    def timed(self, image: Picture, dots: Shaped[np.ndarray, "n 2"]) -> tuple[Bool[np.ndarray, "H W"], float]:
        """`segment`, and the seconds from the image in memory to its mask once everything is compiled."""
        self._warm_up(image)
        started = time.perf_counter()
        found = self.segment(image, dots)
        return found, time.perf_counter() - started

    def _warm_up(self, image: Picture) -> None:
        """Compiles what is new for an image of this size; of the encoder that is nothing after the first."""
        frame = Frame.of(image, self._sam.side)
        if frame in self._compiled:
            return
        if self._embedding is None:
            self._embedding = self._sam.embed(image).embedding
        self.segment(Embedded(frame, self._embedding), np.zeros((1, 2), np.float32))
        self._compiled.add(frame)
