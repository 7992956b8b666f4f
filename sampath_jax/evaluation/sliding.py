"""Images of any size through a model of one size: overlapping windows, blended smoothly, in bounded memory.

An image is one window, resized to the canvas as training resizes its tiles, unless a side is more than
`ONE_WINDOW` times the window's. Then windows at the image's own scale cover it, spread evenly, neighbours
sharing at least the overlap; where a side is shorter than the window, the image is mirrored beyond it.

A window's weight falls smoothly to nothing at those of its edges that are inside the image, divided so that
all weights add up to 1 at every pixel; where one window is alone, the result is that window's. The image is
finished from top to bottom and one row of windows is held: memory grows with the width, not the height.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

#: An image up to this much larger than the window is still resized as a whole: CRAG's canvas is 1536 and its
#: images have sides of 1509 to 1537, and cutting off one pixel row would cost a second row of windows.
ONE_WINDOW = 1.25
#: Share of a window that it has in common with its neighbour, unless asked otherwise.
OVERLAP = 0.25

Image = UInt8[np.ndarray, "H W 3"]
#: One plane per class.
Probabilities = Float32[np.ndarray, "k H W"]


@dataclass(frozen=True)
class Layout:
    """Where the windows of an image lie, row by row: window (r, c) starts at (tops[r], lefts[c])."""

    size: tuple[int, int]  # of the image: height, width
    window: tuple[int, int]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    ramps: tuple[int, int]  # pixels over which the weight rises, down and across

    @classmethod
    def cover(cls, size: tuple[int, int], window: tuple[int, int], overlap: float = OVERLAP) -> "Layout":
        """The layout of an image of `size`; see the module's description."""
        if all(side <= ONE_WINDOW * most for side, most in zip(size, window, strict=True)):
            return cls(size, size, (0,), (0,), (0, 0))
        ramps = tuple(max(1, round(overlap * side)) for side in window)
        tops, lefts = (starts(*axis) for axis in zip(size, window, ramps, strict=True))
        return cls(size, window, tops, lefts, (ramps[0], ramps[1]))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Every (row, column), row by row."""
        return ((row, column) for row in range(len(self.tops)) for column in range(len(self.lefts)))

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def crop(self, image: Image, row: int, column: int) -> UInt8[np.ndarray, "h w 3"]:
        """The pixels of a window; mirrored beyond the image's bottom and right border."""
        top, left = self.tops[row], self.lefts[column]
        cut = image[top : top + self.window[0], left : left + self.window[1]]
        bottom, right = self.window[0] - cut.shape[0], self.window[1] - cut.shape[1]
        if bottom or right:
            cut = cv2.copyMakeBorder(cut, 0, bottom, 0, right, cv2.BORDER_REFLECT_101)
        return cut

    @cached_property
    def weights(self) -> tuple[Float32[np.ndarray, "r h"], Float32[np.ndarray, "c w"]]:
        """Weights of each row of windows along its height, and of each column along its width."""
        return (
            partition_of_unity(self.tops, self.window[0], self.ramps[0]),
            partition_of_unity(self.lefts, self.window[1], self.ramps[1]),
        )


def largest(window: tuple[int, int]) -> tuple[int, int]:
    """Height and width that no tile of any image exceeds, where `window` is the size of the windows."""
    return math.floor(ONE_WINDOW * window[0]), math.floor(ONE_WINDOW * window[1])


def starts(length: int, window: int, overlap: int) -> tuple[int, ...]:
    """First pixels of the fewest windows that cover `length`, spread evenly, neighbours sharing `overlap`."""
    if length <= window:
        return (0,)
    count = math.ceil((length - overlap) / (window - overlap))
    return tuple(round(i * (length - window) / (count - 1)) for i in range(count))


def partition_of_unity(first: tuple[int, ...], window: int, ramp: int) -> Float32[np.ndarray, "n w"]:
    """Weights along one axis for windows that start at `first`: at every pixel they add up to 1.

    Before the division, a weight rises as sin^2 over `ramp` pixels at each edge that is inside the image.
    """
    pixels = np.arange(window) + 0.5
    rise = np.sin(np.pi / 2 * np.clip(pixels / ramp, 0, 1)) ** 2 if ramp else np.ones(window)
    shapes = np.ones((len(first), window))
    shapes[1:] *= rise
    shapes[:-1] *= rise[::-1]
    total = np.zeros(first[-1] + window)
    for start, shape in zip(first, shapes, strict=True):
        total[start : start + window] += shape
    weights = [shape / total[start : start + window] for start, shape in zip(first, shapes, strict=True)]
    return np.stack(weights).astype(np.float32)


class Blend:
    """Adds up the windows of an image and gives away its rows as they are finished, from the top.

    Args:
        layout: of the image.
        num_classes: k.
        write: called with probabilities [k, n, W] of the next n rows, which are overwritten afterwards.
    """

    def __init__(self, layout: Layout, num_classes: int, write: Callable[[Probabilities], None]):
        self._layout = layout
        self._write = write
        self._right = layout.lefts[-1] + layout.window[1]
        self._sum = np.zeros((num_classes, layout.window[0], self._right), np.float32)
        self._left = len(layout)

    def add(self, row: int, column: int, probabilities: Probabilities) -> bool:
        """Adds one window; windows must come row by row. True when the image is finished."""
        layout = self._layout
        down, across = layout.weights
        left = layout.lefts[column]
        part = self._sum[:, :, left : left + layout.window[1]]
        for total, plane in zip(part, probabilities, strict=True):
            total += plane * down[row][:, None] * across[column]
        if column == len(layout.lefts) - 1:
            self._finish_row(row)
        self._left -= 1
        return self._left == 0

    def _finish_row(self, row: int) -> None:
        """Writes what the next row of windows does not reach, and moves the rest up."""
        layout = self._layout
        last = row == len(layout.tops) - 1
        end = layout.size[0] if last else layout.tops[row + 1]
        done = end - layout.tops[row]
        self._write(self._sum[:, :done, : layout.size[1]])
        if not last:
            for plane in self._sum:
                plane[: layout.window[0] - done] = plane[done:].copy()
                plane[layout.window[0] - done :] = 0


def probabilities_at(logits: Float[np.ndarray, "h w C"], size: tuple[int, int]) -> Probabilities:
    """Class probabilities of a tile at `size`: its logits enlarged bilinearly, then softmax over the classes.

    Channel 0, 'unlabelled', is left out, as it is never predicted: the most probable class is the one of
    `models.sam_path.class_map`.
    """
    height, width = size
    planes = np.stack(
        [
            cv2.resize(logits[..., c], (width, height), interpolation=cv2.INTER_LINEAR)
            for c in range(1, logits.shape[-1])
        ]
    )
    np.subtract(planes, planes.max(axis=0), out=planes)
    np.exp(planes, out=planes)
    return np.divide(planes, planes.sum(axis=0), out=planes)


def best_labels(probabilities: Probabilities) -> UInt8[np.ndarray, "H W"]:
    """The most probable class of every pixel, 1..k; ties go to the lower one."""
    best, labels = probabilities[0].copy(), np.ones(probabilities.shape[1:], np.uint8)
    for label, plane in enumerate(probabilities[1:], start=2):
        labels[plane > best] = label
        np.maximum(best, plane, out=best)
    return labels
