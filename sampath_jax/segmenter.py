"""A trained model, ready to segment images of any size: the Python API.

segmenter = sampath_jax.load("runs/bcss")
mask, probabilities = segmenter.predict("tile.png")
segmenter.overlay("tile.png", mask)
"""

import contextlib
import ctypes
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float32, UInt8
from ml_collections import ConfigDict
from PIL import Image

from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.resize import image_to_canvas
from sampath_jax.distributed import Placement, make_mesh
from sampath_jax.evaluation.images import check_image, read_image
from sampath_jax.evaluation.overlays import overlay_rows
from sampath_jax.evaluation.sliding import OVERLAP, Layout, Probabilities, best_labels
from sampath_jax.evaluation.stream import Job, predict_stream
from sampath_jax.models.freezing import split_head
from sampath_jax.models.sam_path import SamPath
from sampath_jax.types import Features, Images, Logits
from sampath_jax.workdir import load_model

#: An RGB image (uint8 [H, W, 3], checked when it is used), or the file it is in.
ImageLike = np.ndarray | str | Path


class Segmenter:
    """Segments images with a trained model, on all devices of this process.

    Args:
        model: with its trained head.
        config: that it was trained with.
        batch_size: windows per forward pass, rounded up to the number of devices. None: one per device on
            CPU, where more would take memory and save no time, else `config.eval.batch_size`.
        window: height and width, in its own pixels, of what is cut from an image that is larger. None: the
            canvas. Set it for images of another scale than the training tiles: each window is resized to
            the canvas.
        overlap: share of a window that neighbours have in common.
    """

    def __init__(
        self,
        model: SamPath,
        config: ConfigDict,
        *,
        batch_size: int | None = None,
        window: tuple[int, int] | None = None,
        overlap: float = OVERLAP,
    ):
        self.config = config
        self.labels = LabelSpec.from_config(config.data)
        self._canvas = tuple(config.data.canvas)
        self._window = tuple(window or self._canvas)
        self._overlap = overlap
        self._placement = Placement(make_mesh(ConfigDict({"data": -1, "model": config.mesh.model})))
        devices = self._placement.mesh.shape["data"]
        wanted = batch_size or (1 if jax.default_backend() == "cpu" else config.eval.batch_size)
        self._batch_size = -(-wanted // devices) * devices
        graphdef, head, frozen = split_head(model)
        self._head, self._frozen = self._placement.put(head), self._placement.put_frozen(frozen)

        def encode(head: Any, frozen: Any, images: Images) -> Features:
            return nnx.merge(graphdef, head, frozen).encode(images)

        def logits(head: Any, frozen: Any, images: Images) -> Logits:
            return nnx.merge(graphdef, head, frozen)(images)[0]

        self._encode = jax.jit(encode, out_shardings=self._placement.by_batch)
        self._logits = jax.jit(logits, out_shardings=self._placement.by_batch)

    @classmethod
    def load(
        cls, workdir: str | Path, checkpoint: str = "best", overrides: Iterable[str] = (), **options: Any
    ) -> "Segmenter":
        """The model of a work directory.

        Args:
            workdir: folder of `sampath_jax.train` or of a converted checkpoint.
            checkpoint: ``best`` on validation, ``last``, or the step of one that is kept.
            overrides: such as ``config.weights.sam=DIR`` where files have moved.
            options: `batch_size`, `window`, `overlap` as for the class.

        Raises:
            InputError: no work directory, no checkpoint, or other frozen weights than it was trained with.
        """
        loaded = load_model(Path(workdir), checkpoint, overrides)
        _return_freed_memory()
        return cls(loaded.model, loaded.config, **options)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names; probabilities are in this order."""
        return self.labels.names

    @property
    def colors(self) -> tuple[str, ...]:
        """Class colours as ``#rrggbb``, in the order of `names`."""
        return self.labels.colors

    def predict(self, image: ImageLike) -> tuple[UInt8[np.ndarray, "H W"], Float32[np.ndarray, "H W k"]]:
        """The mask, in the data set's own values, and the probability of each class, at the image's size.

        Raises:
            InputError: a file that cannot be read, or an image that is not 8-bit RGB.
        """
        pixels = _pixels(image)
        blocks: list[Probabilities] = []
        self.predict_all([Job(pixels, lambda rows: blocks.append(rows.copy()))])
        probabilities = np.concatenate(blocks, axis=1)
        return self.labels.to_raw(best_labels(probabilities)), np.moveaxis(probabilities, 0, -1)

    def predict_all(self, jobs: Iterable[Job]) -> None:
        """Predicts many images in a stream, see `evaluation.stream.predict_stream`."""
        predict_stream(
            jobs,
            lambda images: self._logits(self._head, self._frozen, self._batch(images)),
            self._batch_size,
            self.labels.num_classes,
            lambda size: Layout.cover(size, self._window, self._overlap),
        )

    def encode(self, image: ImageLike) -> Float32[np.ndarray, "gh gw F"]:
        """Features of the frozen encoders, a vector per patch, of the whole image resized to the canvas."""
        features = self._encode(self._head, self._frozen, self._batch([_pixels(image)]))
        return np.asarray(features[0], np.float32)

    def overlay(self, image: ImageLike, mask: UInt8[np.ndarray, "H W"]) -> Image.Image:
        """The image with its classes tinted and outlined, and a legend; notebooks show it as it is.

        Args:
            image: as for `predict`.
            mask: in the data set's own values, as from `predict` or from an annotator.
        """
        rows = overlay_rows(_pixels(image), self.labels.to_labels(mask), self.names, self.colors)
        return Image.fromarray(np.concatenate(list(rows)))

    def _batch(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[Array, "B H W 3"]:
        """The images on the canvas, padded with black ones to a full batch, on the devices."""
        batch = np.zeros((self._batch_size, *self._canvas, 3), np.uint8)
        for row, image in enumerate(images):
            batch[row] = image_to_canvas(image, self._canvas)
        placed: Any = self._placement.put_batch(batch)
        return placed


def _return_freed_memory() -> None:
    """Gives back what reading the weights took and freed, about 200 MB for ViT-B; glibc would keep it."""
    with contextlib.suppress(
        OSError, AttributeError
    ):  # another C library keeps less, or has no such function
        ctypes.CDLL(None).malloc_trim(0)


def _pixels(image: ImageLike) -> UInt8[np.ndarray, "H W 3"]:
    return check_image(image) if isinstance(image, np.ndarray) else read_image(Path(image))
