"""The paper's untrained baselines on the tiles of a split: dots as semantic masks, everything as overlays."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict
from rich.progress import track

from sampath_jax import console, drawing
from sampath_jax.data.checks import check_split
from sampath_jax.data.source import TileSource, open_source
from sampath_jax.data.tile import Tile
from sampath_jax.errors import InputError
from sampath_jax.evaluation.confusion import mask_confusion
from sampath_jax.evaluation.results import Results
from sampath_jax.prompting.dot_segmenter import DotSegmenter
from sampath_jax.prompting.everything import EverythingOptions
from sampath_jax.prompting.objects import DottedTiles
from sampath_jax.prompting.pictures import draw_dots, draw_masks
from sampath_jax.prompting.predictor import PromptableSam
from sampath_jax.prompting.weights import sam_of_config
from sampath_jax.workdir import WorkDir, explain_os_errors


def run_dots(config: ConfigDict, path: Path, split: str) -> Results:
    """Vanilla SAM with one dot per object, scored as semantic masks at the tiles' own size.

    Writes to ``evaluation/<split>`` of the work directory `path` what evaluating a trained model writes.

    Raises:
        InputError: tiles without objects, other bad data, weights, another run's work directory, a full disk.
    """
    tiles = DottedTiles.open(config, split)
    sam, workdir = _start(config, path)
    folder = path / "evaluation" / split
    with explain_os_errors(folder):
        confusions, seconds = _segment_tiles(DotSegmenter.from_config(sam, config), tiles, folder)
    results = Results(
        classes=tiles.labels.spec.names,
        tiles=tuple(tile.id for tile in tiles.source.tiles),
        slides=tuple(tile.slide for tile in tiles.source.tiles),
        confusions=confusions,
        source={
            "workdir": str(workdir.path),
            "name": config.name,
            "split": split,
            "size": "own",
            "device": sam.device,
            "seconds_per_tile": seconds,
        },
        published_ignored_class=config.eval.published_ignored_class,
    )
    results.write(folder)
    return results


def _segment_tiles(
    segmenter: DotSegmenter, tiles: DottedTiles, folder: Path
) -> tuple[Int[np.ndarray, "n k k"], float]:
    """Counts of every tile, whose masks and overlays are written, and the mean seconds of predicting one."""
    labels, counts, seconds = tiles.labels, [], []
    for i, tile in enumerate(_track(tiles.source)):
        raw, dots = tiles.source[i], tiles.dots[i]
        found, elapsed = segmenter.timed(raw["image"], dots)
        seconds.append(elapsed)
        predicted = np.where(found, labels.inside, labels.outside).astype(np.uint8)
        truth = labels.spec.to_labels(raw["mask"], str(tile.mask))
        counts.append(mask_confusion(truth, predicted, labels.spec.num_classes))
        _write_png(folder / "predictions" / f"{tile.id}.png", labels.spec.to_raw(predicted))
        picture = draw_dots(drawing.overlay(raw["image"], predicted * found, labels.spec.colors), dots)
        _write_png(folder / "overlays" / f"{tile.id}.png", picture)
    return np.stack(counts), float(np.mean(seconds))


def run_everything(config: ConfigDict, path: Path, split: str) -> None:
    """Segment-everything overlays, a colour per mask without meaning (figure 3), and no score.

    Raises:
        InputError: bad data, weights, another run's work directory, a full disk.
    """
    check_split(config, split)
    source, options = open_source(config, split), EverythingOptions.from_config(config)
    sam, _ = _start(config, path)
    folder = path / "evaluation" / split / "overlays"
    with explain_os_errors(folder):
        for i, tile in enumerate(_track(source)):
            image = source.image(i)
            masks = sam.segment_everything(image, options).masks
            masks = masks[masks.mean(axis=(1, 2)) <= config.baseline.largest_share]
            _write_png(folder / f"{tile.id}.png", draw_masks(image, masks))


def _start(config: ConfigDict, path: Path) -> tuple[PromptableSam, WorkDir]:
    """SAM, then the work directory: a start that is refused leaves no folder that insists on its config."""
    return PromptableSam(sam_of_config(config, path)), WorkDir.create(path, config)


def _track(source: TileSource) -> Iterable[Tile]:
    return track(source.tiles, "Segmenting", console=console.err)


def _write_png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
    if not written:
        raise InputError(f"{path} cannot be written")
