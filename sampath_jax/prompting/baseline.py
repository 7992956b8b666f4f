"""The paper's untrained baselines on the tiles of a split: dots as semantic masks, everything as overlays."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Shaped
from ml_collections import ConfigDict

from sampath_jax import drawing
from sampath_jax.data.decode import decode_mask
from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.source import RawTile, open_source
from sampath_jax.data.tile import Tile
from sampath_jax.drawing import Picture
from sampath_jax.errors import InputError
from sampath_jax.evaluation.confusion import mask_confusion
from sampath_jax.evaluation.results import Results
from sampath_jax.prompting.dots import connected_instances, instance_dots
from sampath_jax.prompting.everything import EverythingOptions, segment_everything
from sampath_jax.prompting.predictor import PromptableSam
from sampath_jax.public_files import find_folder
from sampath_jax.workdir import WorkDir, explain_os_errors

#: Called with the number of tiles done and of all.
Progress = Callable[[int, int], None]
#: Half of a dot's width on an overlay, as a share of the image's shorter side.
DOT = 1 / 150


@dataclasses.dataclass(frozen=True)
class ObjectLabels:
    """What an object and everything else are called.

    Attributes:
        spec: the classes.
        inside: label of the pixels of an object.
        outside: label of all others.
    """

    spec: LabelSpec
    inside: int
    outside: int

    @classmethod
    def from_config(cls, config: ConfigDict) -> "ObjectLabels":
        """Reads `config.baseline.object_class`.

        Raises:
            InputError: there is no such class, or not exactly one other.
        """
        spec, name = LabelSpec.from_config(config.data), config.baseline.object_class
        if name not in spec.names or spec.num_classes != 2:
            raise InputError(
                f"config.baseline.object_class is {name!r}: every object is taken for this class, the "
                f"rest for one other, so name one of exactly two classes; there are {', '.join(spec.names)}"
            )
        inside = spec.names.index(name) + 1
        return cls(spec, inside, 3 - inside)


def segment_dots(
    sam: PromptableSam,
    image: Picture,
    dots: Shaped[np.ndarray, "n 2"],
    *,
    multimask: bool,
    largest_share: float,
) -> Bool[np.ndarray, "H W"]:
    """The union of one mask per dot; masks that cover more than `largest_share` of the image are dropped."""
    masks = sam.predict(image, points=dots, multimask=multimask).best()
    return masks[masks.mean(axis=(1, 2)) <= largest_share].any(axis=0)


def run_dots(sam: PromptableSam, workdir: WorkDir, split: str, progress: Progress) -> Results:
    """Vanilla SAM with one dot per instance, scored as semantic masks at the tiles' own size.

    Writes to ``evaluation/<split>`` what evaluating a trained model writes.

    Raises:
        InputError: bad data, a missing instance mask, a tile without instances.
    """
    config = workdir.config
    source, labels = open_source(config, split), ObjectLabels.from_config(config)
    folder = workdir.path / "evaluation" / split
    counts, seconds = [], []
    with explain_os_errors(folder):
        for i, tile in enumerate(source.tiles):
            raw = source[i]
            dots = _dots(config, tile, raw, labels)
            started = time.perf_counter()
            found = segment_dots(
                sam,
                raw["image"],
                dots,
                multimask=config.baseline.multimask,
                largest_share=config.baseline.largest_share,
            )
            seconds.append(time.perf_counter() - started)
            predicted = np.where(found, labels.inside, labels.outside).astype(np.uint8)
            truth = labels.spec.to_labels(raw["mask"], str(tile.mask))
            counts.append(mask_confusion(truth, predicted, labels.spec.num_classes))
            _write_png(folder / "predictions" / f"{tile.id}.png", labels.spec.to_raw(predicted))
            picture = draw_dots(drawing.overlay(raw["image"], predicted * found, labels.spec.colors), dots)
            _write_png(folder / "overlays" / f"{tile.id}.png", picture)
            progress(i + 1, len(source))
    results = Results(
        classes=labels.spec.names,
        tiles=tuple(tile.id for tile in source.tiles),
        slides=tuple(tile.slide for tile in source.tiles),
        confusions=np.stack(counts),
        source={
            "workdir": str(workdir.path),
            "name": config.name,
            "split": split,
            "size": "own",
            "seconds_per_tile": float(np.median(seconds)),
        },
        published_ignored_class=config.eval.published_ignored_class,
    )
    results.write(folder)
    return results


def run_everything(sam: PromptableSam, workdir: WorkDir, split: str, progress: Progress) -> Path:
    """Segment-everything overlays, a colour per mask without meaning (figure 3); returns their folder."""
    config = workdir.config
    source = open_source(config, split)
    folder = workdir.path / "evaluation" / split / "overlays"
    options = EverythingOptions(
        points_per_side=config.baseline.points_per_side, points_per_batch=config.baseline.points_per_batch
    )
    with explain_os_errors(folder):
        for i, tile in enumerate(source.tiles):
            image = source.image(i)
            masks = segment_everything(sam, image, options).masks
            masks = masks[masks.mean(axis=(1, 2)) <= config.baseline.largest_share]
            _write_png(folder / f"{tile.id}.png", draw_masks(image, masks))
            progress(i + 1, len(source))
    return folder


def load_baseline_sam(config: ConfigDict) -> PromptableSam:
    """The SAM of `config.weights.sam`."""
    return PromptableSam.load(find_folder("sam", config.weights.sam, config.model.sam, None))


def draw_dots(image: Picture, dots: Shaped[np.ndarray, "n 2"]) -> Picture:
    """Black asterisks with a white rim at `dots`, as in figure 2."""
    size = max(4, round(2 * DOT * min(image.shape[:2])))
    drawn = image.copy()
    for color, width in (((255, 255, 255), 3), ((0, 0, 0), 1)):
        for x, y in np.round(dots).astype(int).tolist():
            cv2.drawMarker(drawn, (x, y), color, cv2.MARKER_STAR, size, width, cv2.LINE_AA)
    return drawn


def draw_masks(image: Picture, masks: Bool[np.ndarray, "n H W"]) -> Picture:
    """Masks in alternating colours, the largest first so that small ones stay visible."""
    colors = drawing.default_colors(len(drawing.PALETTE))
    for rank, i in enumerate(np.argsort(-masks.sum(axis=(1, 2)), kind="stable")):
        labels = masks[i].astype(np.uint8) * (rank % len(colors) + 1)
        image = drawing.overlay(image, labels, colors)
    return image


def _dots(config: ConfigDict, tile: Tile, raw: RawTile, labels: ObjectLabels) -> Shaped[np.ndarray, "n 2"]:
    """One dot per instance: of the tile's instance mask, or of the components of its semantic mask."""
    if not config.baseline.instances:
        objects = labels.spec.to_labels(raw["mask"], str(tile.mask)) == labels.inside
        instances, place = connected_instances(objects), str(tile.mask)
    else:
        path = Path(config.baseline.instances) / f"{tile.id}.png"
        try:
            instances, place = decode_mask(path.read_bytes(), str(path)), str(path)
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror}): config.baseline.instances is a folder with an "
                "instance mask <tile id>.png for every tile; leave it empty to take connected components"
            ) from error
        if instances.shape != raw["mask"].shape:
            raise InputError(f"{path} has {instances.shape} pixels, but {tile.mask} {raw['mask'].shape}")
    try:
        return instance_dots(instances)
    except InputError as error:
        raise InputError(f"{place}: {error}; take this tile out of the split") from error


def _write_png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
    if not written:
        raise InputError(f"{path} cannot be written")
