"""Best, median and worst tiles of a split, drawn as image, truth and prediction.

Tiles are ranked by their own macro Dice, the score that picks checkpoints, averaged over classes.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict
from PIL import Image

from sampath_jax import drawing
from sampath_jax.data.decode import decode_mask
from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.source import open_source
from sampath_jax.drawing import LabelMap, Picture
from sampath_jax.errors import InputError
from sampath_jax.reporting.evaluation_files import Evaluation, TileScore

#: Tiles of each rank.
PER_RANK = 2
#: Longer side of a drawn tile in pixels: sharp at the width of a column, and small in a file.
SIDE = 480
#: How strongly regions are tinted.
OPACITY = 0.5


@dataclass(frozen=True)
class Example:
    """A tile as it is shown."""

    rank: str  # best | median | worst
    score: TileScore
    image: Picture
    truth: Picture
    prediction: Picture


def choose(tiles: Sequence[TileScore], per_rank: int = PER_RANK) -> list[tuple[str, TileScore]]:
    """Each tile at most once: the best first, those around the median, the worst last."""
    scored = [tile for tile in tiles if tile.macro_dice is not None]
    ranked = sorted(scored, key=lambda tile: (-(tile.macro_dice or 0.0), tile.id))
    if len(ranked) < 3:
        return list(zip(("best", "worst"), ranked, strict=False))
    count = min(per_rank, len(ranked) // 3)
    middle = (len(ranked) - count) // 2
    groups = {
        "best": ranked[:count],
        "median": ranked[middle : middle + count],
        "worst": ranked[-count:],
    }
    return [(rank, tile) for rank, members in groups.items() for tile in members]


def draw_examples(config: ConfigDict, evaluation: Evaluation) -> list[Example]:
    """The chosen tiles of an evaluated split, in the colours of the config's classes.

    Raises:
        InputError: the data set or a predicted mask is not at hand.
    """
    source, spec = open_source(config, evaluation.split), LabelSpec.from_config(config.data)
    place = {tile.id: i for i, tile in enumerate(source.tiles)}
    hidden = config.eval.published_ignored_class
    examples = []
    for rank, score in choose(evaluation.tiles):
        if score.id not in place:
            raise InputError(f"tile {score.id} was evaluated, but the data set no longer has it")
        raw = source[place[score.id]]
        path = evaluation.folder / "predictions" / f"{score.id}.png"
        try:
            predicted = decode_mask(path.read_bytes(), str(path))
        except OSError as error:
            raise InputError(f"the prediction {path} cannot be read ({error.strerror})") from error
        truth = spec.to_labels(raw["mask"], score.id)
        image, labels = _fit(raw["image"], (truth, spec.to_labels(predicted, str(path))))
        drawn = [_draw(image, label, spec.colors, hidden) for label in labels]
        examples.append(Example(rank, score, image, *drawn))
    return examples


def jpeg(picture: Picture, quality: int = 86) -> bytes:
    """The picture as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()


def _fit(image: Picture, labels: Sequence[LabelMap]) -> tuple[Picture, list[LabelMap]]:
    """Image and label maps with a longer side of `SIDE`; drawn at this size, lines stay crisp."""
    scale = SIDE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return resized, [cv2.resize(label, size, interpolation=cv2.INTER_NEAREST) for label in labels]


def _draw(image: Picture, labels: UInt8[np.ndarray, "H W"], colors: Sequence[str], hidden: int) -> Picture:
    """The labels over the image; `hidden` is a background that the paper's figures leave uncoloured."""
    shown = np.where(labels == hidden, 0, labels).astype(np.uint8) if hidden else labels
    return drawing.overlay(image, shown, colors, OPACITY)
