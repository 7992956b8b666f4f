"""Files in, files out: masks of a whole folder, in a stream, restartable.

    <output>/<name>.png                       the mask, in the data set's own values, at the image's size
    <output>/overlay/<name>.png               with `overlay`: the image, classes outlined, and a legend
    <output>/probability/<class>/<name>.png   with `probabilities`: 16-bit grey, 65535 = certain

A file gets its name when it is complete, and the mask is an image's last one: what is there is whole, and a
run goes on where the one before stopped.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sampath_jax.errors import InputError
from sampath_jax.evaluation.images import find_images, read_image
from sampath_jax.evaluation.overlays import overlay_rows, overlay_size
from sampath_jax.evaluation.png import PngWriter
from sampath_jax.evaluation.sliding import Image, Probabilities, best_labels
from sampath_jax.evaluation.stream import Job
from sampath_jax.segmenter import Segmenter
from sampath_jax.workdir import explain_os_errors

#: Images read ahead while others are predicted; each is in memory whole.
READ_AHEAD = 2
#: Probability 1 in a 16-bit file.
CERTAIN = 65535


@dataclass(frozen=True)
class Outputs:
    """Which files are made for an image, and where."""

    folder: Path
    overlay: bool = False
    probabilities: bool = False

    def mask(self, name: str) -> Path:
        """The mask of the image called `name` (without suffix)."""
        return self.folder / f"{name}.png"

    def overlays(self, name: str) -> tuple[Path, ...]:
        """The overlay, or nothing."""
        return (self.folder / "overlay" / f"{name}.png",) if self.overlay else ()

    def maps(self, name: str, classes: Sequence[str]) -> tuple[Path, ...]:
        """The probability map of every class, or nothing."""
        if not self.probabilities:
            return ()
        return tuple(self.folder / "probability" / _folder_name(c) / f"{name}.png" for c in classes)

    def all(self, name: str, classes: Sequence[str]) -> tuple[Path, ...]:
        """Every file of an image."""
        return (self.mask(name), *self.overlays(name), *self.maps(name, classes))


@dataclass
class Outcome:
    """What became of the images."""

    done: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)  # all their files were there
    failed: dict[Path, str] = field(default_factory=dict)  # with the reason

    @property
    def settled(self) -> int:
        """How many images are done, skipped or failed."""
        return len(self.done) + len(self.skipped) + len(self.failed)


def predict_files(
    segmenter: Segmenter,
    source: Path,
    outputs: Outputs,
    *,
    overwrite: bool = False,
    progress: Callable[[float, int], None] = lambda settled, total: None,
) -> Outcome:
    """Predicts an image file, or every image of a folder.

    An image that cannot be read or is not 8-bit RGB is noted in the outcome; the others are finished.

    Args:
        segmenter: the model.
        source: file or folder.
        outputs: what to write, and where.
        overwrite: also predict images whose files are all there.
        progress: called with the number of settled images (with a fraction: of the one in work) and of all.

    Raises:
        InputError: nothing to read, an output folder that cannot be used, a full disk.
    """
    images = find_images(source)
    outcome = Outcome()
    with explain_os_errors(outputs.folder):
        _prepare(images, outputs, segmenter.names)

        todo = [path for path in images if overwrite or not _complete(path, outputs, segmenter.names)]
        outcome.skipped.extend(path for path in images if path not in set(todo))
        jobs = _jobs(
            todo, segmenter, outputs, outcome, lambda part: progress(outcome.settled + part, len(images))
        )
        segmenter.predict_all(jobs)
    progress(outcome.settled, len(images))
    return outcome


def _jobs(
    paths: Iterable[Path],
    segmenter: Segmenter,
    outputs: Outputs,
    outcome: Outcome,
    progress: Callable[[float], None],
) -> Iterator[Job]:
    for path, image in _read_ahead(paths):
        if isinstance(image, InputError):
            outcome.failed[path] = str(image)
        else:
            files = _ImageFiles(path, image, segmenter, outputs, outcome, progress)
            yield Job(image, files.write, files.finish)


class _ImageFiles:
    """Takes the probabilities of one image from the top and writes its files."""

    def __init__(
        self,
        path: Path,
        image: Image,
        segmenter: Segmenter,
        outputs: Outputs,
        outcome: Outcome,
        progress: Callable[[float], None],
    ):
        self._path, self._image = path, image
        self._segmenter, self._outputs = segmenter, outputs
        self._outcome, self._progress = outcome, progress
        self._size = (image.shape[0], image.shape[1])
        self._labels = np.zeros(self._size, np.uint8)
        self._rows = 0
        self._maps: list[PngWriter] = []

    def write(self, rows: Probabilities) -> None:
        """The next rows."""
        if self._rows == 0:  # not before: images wait in line, and open files are few
            files = self._outputs.maps(self._path.stem, self._segmenter.names)
            self._maps = [PngWriter(file, *self._size, bits=16) for file in files]
        self._labels[self._rows : self._rows + rows.shape[1]] = best_labels(rows)
        self._rows += rows.shape[1]
        for file, plane in zip(self._maps, rows, strict=False):
            file.write(np.round(plane * np.float32(CERTAIN)).astype(np.uint16))
        self._progress(self._rows / self._size[0])

    def finish(self) -> None:
        """All rows are there: ends the maps, draws the overlay, writes the mask."""
        for file in self._maps:
            file.close()
        names, colors = self._segmenter.names, self._segmenter.colors
        for path in self._outputs.overlays(self._path.stem):
            overlay = PngWriter(path, *overlay_size(self._image, names, colors), channels=3)
            for strip in overlay_rows(self._image, self._labels, names, colors):
                overlay.write(strip)
            overlay.close()
        mask = PngWriter(self._outputs.mask(self._path.stem), *self._size)
        mask.write(self._segmenter.labels.to_raw(self._labels))
        mask.close()
        self._outcome.done.append(self._path)


def _read_ahead(paths: Iterable[Path]) -> Iterator[tuple[Path, Image | InputError]]:
    """Images in order, each with its path, or what is wrong with it; the next ones are read meanwhile."""

    def read(path: Path) -> Image | InputError:
        try:
            return read_image(path)
        except InputError as error:
            return error

    with ThreadPoolExecutor(READ_AHEAD) as pool:
        reading: deque[tuple[Path, Future[Image | InputError]]] = deque()
        for path in paths:
            reading.append((path, pool.submit(read, path)))
            if len(reading) > READ_AHEAD:
                first, image = reading.popleft()
                yield first, image.result()
        for first, image in reading:
            yield first, image.result()


def _complete(path: Path, outputs: Outputs, classes: Sequence[str]) -> bool:
    return all(file.exists() for file in outputs.all(path.stem, classes))


def _prepare(images: Sequence[Path], outputs: Outputs, classes: Sequence[str]) -> None:
    """Creates the output folders.

    Raises:
        InputError: the output is a file or the input itself, or two images would get the same mask.
    """
    names: dict[str, Path] = {}
    for path in images:
        if path.stem in names:
            raise InputError(
                f"{names[path.stem]} and {path} would both be written to {path.stem}.png: rename one"
            )
        names[path.stem] = path
    if outputs.folder.resolve() == images[0].parent.resolve():
        raise InputError(f"{outputs.folder} holds the input: name another folder, masks would replace images")
    try:
        for file in outputs.all("any", classes):
            file.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{error.filename} is a file, not a folder: name another output folder") from error


def _folder_name(name: str) -> str:
    """A class name without what file systems do not take."""
    return re.sub(r"[^\w.+-]+", "_", name)
