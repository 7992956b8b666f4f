"""Scores masks that are already files, whoever made them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from ml_collections import ConfigDict

from sampath_jax.data.decode import decode_mask
from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.problems import Problems
from sampath_jax.data.tile import slide_of
from sampath_jax.errors import InputError
from sampath_jax.evaluation.confusion import mask_confusion
from sampath_jax.evaluation.results import Results

#: Files that hold masks.
SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
#: What the published code adds to the names of its masks.
PUBLISHED_ENDING = "_mask"


def score_masks(predictions: Path, labels: Path, config: ConfigDict) -> Results:
    """Compares every mask of the folder `labels` with the one of the same name in `predictions`.

    Both hold the raw values of `config.data.classes` and `.ignored`. In a prediction an ignored value means
    that no class was given: on labelled pixels it counts as a miss. A prediction may be called
    ``<name>_mask``, as the published code calls it; predictions of other names are not looked at. Tiles are
    taken at their own size.

    Raises:
        InputError: with all problems in one table: a missing folder, a missing or unreadable prediction,
            another size than its label's, a value that the classes do not know.
    """
    spec, problems = LabelSpec.from_config(config.data), Problems()
    truths, predicted = (_masks(folder) for folder in (labels, predictions))
    names, counts = [], []
    for name, path in truths.items():
        other = predicted.get(name, predicted.get(name + PUBLISHED_ENDING))
        if other is None:
            problems.add(
                "no prediction", name, f"write it to {predictions}/{name}.png, or take its label away"
            )
            continue
        try:
            counts.append(_compare(path, other, spec))
            names.append(name)
        except InputError as error:
            problems.add("cannot be compared", str(error), "mend the file")
    problems.raise_if_any(f"{predictions} cannot be scored")
    return Results(
        classes=spec.names,
        tiles=tuple(names),
        slides=tuple(slide_of(name) for name in names),
        confusions=np.stack(counts),
        source={"predictions": str(predictions), "labels": str(labels), "size": "own"},
        published_ignored_class=config.eval.published_ignored_class,
    )


def _masks(folder: Path) -> dict[str, Path]:
    """The masks directly in `folder` by name without suffix, sorted."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    masks = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    if not masks:
        raise InputError(f"{folder} holds no mask: looked for {', '.join(SUFFIXES)}")
    return masks


def _compare(label: Path, prediction: Path, spec: LabelSpec) -> Int[np.ndarray, "k k"]:
    truth, predicted = (_read(path, spec) for path in (label, prediction))
    if truth.shape != predicted.shape:
        raise InputError(f"{prediction} is {_size(predicted.shape)}, but {label} is {_size(truth.shape)}")
    return mask_confusion(truth, predicted, spec.num_classes)


def _read(path: Path, spec: LabelSpec) -> UInt8[np.ndarray, "H W"]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return spec.to_labels(decode_mask(data, str(path)), str(path))


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]}x{shape[0]} pixels"
