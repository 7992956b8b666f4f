"""A stream of images through a model in full batches, whatever their sizes, holding a few at a time."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from sampath_jax.evaluation.sliding import Blend, Image, Layout, Probabilities

#: Starts the model on RGB images of any sizes; the probabilities [B, k, H, W] are fetched later, each in the
#: upper left corner of its plane, at its image's size.
Forward = Callable[[Sequence[Image]], Any]


@dataclass(frozen=True)
class Job:
    """An image to be predicted.

    Attributes:
        image: RGB.
        write: given the probabilities [k, n, W] of the next n rows, which are overwritten afterwards.
        finish: called after the last row.
    """

    image: Image
    write: Callable[[Probabilities], None]
    finish: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Window:
    """One window of a job."""

    job: Job
    blend: Blend
    layout: Layout
    row: int
    column: int

    def crop(self) -> UInt8[np.ndarray, "H W 3"]:
        """Its pixels."""
        return self.layout.crop(self.job.image, self.row, self.column)


def predict_stream(
    jobs: Iterable[Job],
    forward: Forward,
    batch_size: int,
    num_classes: int,
    layout_of: Callable[[tuple[int, int]], Layout],
) -> None:
    """Predicts `jobs`, filling batches across them. The model computes a batch while the last is blended.

    Jobs are taken when they are needed: with a generator of them, memory does not grow with their number.

    Args:
        jobs: what to predict.
        forward: the model.
        batch_size: windows per batch; the last batch may be short.
        num_classes: k.
        layout_of: the windows of an image of given height and width.
    """
    behind: tuple[Any, tuple[Window, ...]] | None = None
    for windows in _groups(_windows(jobs, num_classes, layout_of), batch_size):
        ahead = forward([window.crop() for window in windows]), windows
        if behind is not None:
            _blend(*behind)
        behind = ahead
    if behind is not None:
        _blend(*behind)


def _groups(windows: Iterator[Window], size: int) -> Iterator[tuple[Window, ...]]:
    while group := tuple(itertools.islice(windows, size)):
        yield group


def _windows(
    jobs: Iterable[Job], num_classes: int, layout_of: Callable[[tuple[int, int]], Layout]
) -> Iterator[Window]:
    for job in jobs:
        layout = layout_of(job.image.shape[:2])
        blend = Blend(layout, num_classes, job.write)
        for row, column in layout:
            yield Window(job, blend, layout, row, column)


def _blend(probabilities: Any, windows: Sequence[Window]) -> None:
    for one, window in zip(np.asarray(probabilities), windows, strict=False):
        height, width = window.layout.window
        if window.blend.add(window.row, window.column, one[:, :height, :width]):
            window.job.finish()
