"""A trained model, ready to segment images of any size: the Python API.

segmenter = sampath_jax.load("runs/bcss")
mask, probabilities = segmenter.predict("tile.png")
segmenter.overlay("tile.png", mask)

segmenter = sampath_jax.load("runs/folds")                 # a sweep: the mean of all its heads
segmenter = sampath_jax.load(["runs/first", "runs/second"])  # the mean of these runs
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float32, Int, UInt8
from ml_collections import ConfigDict
from PIL import Image

from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.resize import image_to_canvas
from sampath_jax.distributed import Placement, make_mesh
from sampath_jax.ensemble import Places, load_ensemble
from sampath_jax.evaluation import averaging
from sampath_jax.evaluation.images import check_image, read_image
from sampath_jax.evaluation.overlays import overlay_rows
from sampath_jax.evaluation.sliding import OVERLAP, Layout, Probabilities, best_labels, largest
from sampath_jax.evaluation.stream import Job, predict_stream
from sampath_jax.freed_memory import return_freed_memory
from sampath_jax.models.freezing import split_head
from sampath_jax.models.sam_path import SamPath
from sampath_jax.types import Features, Images

#: An RGB image (uint8 [H, W, 3], checked when it is used), or the file it is in.
ImageLike = np.ndarray | str | Path


class Segmenter:
    """Segments images with a trained model, on all devices of this process.

    Several heads are an ensemble: the image is encoded once, every head decodes its features, and at every
    pixel the mean is taken of the heads' probabilities, that is after each head's softmax over the classes.

    Args:
        model: with its trained head.
        config: that it was trained with.
        heads: the trained parameters of an ensemble, every array with a leading axis of heads. None: the
            model's own.
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
        heads: Any = None,
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
        if heads is None:
            heads = jax.tree.map(lambda leaf: leaf[None], head)
        self._heads, self._frozen = self._placement.put(heads), self._placement.put_frozen(frozen)
        room = largest(self._window)

        def encode(heads: Any, frozen: Any, images: Images) -> Features:
            return averaging.encode(graphdef, heads, frozen, images)

        def predict(
            heads: Any, frozen: Any, images: Images, sizes: Int[Array, "B 2"]
        ) -> Float32[Array, "B k Hr Wr"]:
            logits = averaging.decode(graphdef, heads, frozen, encode(heads, frozen, images))
            return averaging.mean_probabilities(logits, sizes, room)

        self._encode = jax.jit(encode, out_shardings=self._placement.by_batch)
        self._predict = jax.jit(predict, out_shardings=self._placement.by_batch)

    @classmethod
    def load(
        cls, workdir: Places, checkpoint: str = "best", overrides: Iterable[str] = (), **options: Any
    ) -> "Segmenter":
        """The model of a work directory, or the ensemble of several.

        Args:
            workdir: folder of `sampath_jax.train` or of a converted checkpoint; the folder of a sweep for the
                ensemble of its heads; or a list of them for the ensemble of all.
            checkpoint: ``best`` on validation, ``last``, or the step of one that is kept; of each run.
            overrides: such as ``config.weights.sam=DIR`` where files have moved.
            options: `batch_size`, `window`, `overlap` as for the class.

        Raises:
            InputError: no work directory, no checkpoint, other frozen weights than it was trained with, or
                runs that do not share encoders, canvas and classes.
        """
        loaded = load_ensemble(workdir, checkpoint, overrides)
        return_freed_memory()
        return cls(loaded.model, loaded.config, heads=loaded.heads, **options)

    @property
    def num_heads(self) -> int:
        """How many heads are averaged; 1 for a single run."""
        return len(jax.tree.leaves(self._heads)[0])

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
            self._forward,
            self._batch_size,
            self.labels.num_classes,
            lambda size: Layout.cover(size, self._window, self._overlap),
        )

    def encode(self, image: ImageLike) -> Float32[np.ndarray, "gh gw F"]:
        """Features of the frozen encoders, a vector per patch, of the whole image resized to the canvas."""
        features = self._encode(self._heads, self._frozen, self._batch([_pixels(image)]))
        return np.asarray(features[0], np.float32)

    def overlay(self, image: ImageLike, mask: UInt8[np.ndarray, "H W"]) -> Image.Image:
        """The image with its classes tinted and outlined, and a legend; notebooks show it as it is.

        Args:
            image: as for `predict`.
            mask: in the data set's own values, as from `predict` or from an annotator.
        """
        rows = overlay_rows(_pixels(image), self.labels.to_labels(mask), self.names, self.colors)
        return Image.fromarray(np.concatenate(list(rows)))

    def _forward(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float32[Array, "B k H W"]:
        """Probabilities of the images, each at its own size in the upper left corner."""
        sizes = np.ones((self._batch_size, 2), np.int32)
        sizes[: len(images)] = [image.shape[:2] for image in images]
        placed: Any = self._placement.put_batch(sizes)
        return self._predict(self._heads, self._frozen, self._batch(images), placed)

    def _batch(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[Array, "B H W 3"]:
        """The images on the canvas, padded with black ones to a full batch, on the devices."""
        batch = np.zeros((self._batch_size, *self._canvas, 3), np.uint8)
        for row, image in enumerate(images):
            batch[row] = image_to_canvas(image, self._canvas)
        placed: Any = self._placement.put_batch(batch)
        return placed


def _pixels(image: ImageLike) -> UInt8[np.ndarray, "H W 3"]:
    return check_image(image) if isinstance(image, np.ndarray) else read_image(Path(image))
