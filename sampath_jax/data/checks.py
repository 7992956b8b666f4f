"""Looks at every tile before a long run: the label table, and all problems of the data set at once."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict
from rich.progress import track

from sampath_jax import console
from sampath_jax.data.index import TileIndex, scan
from sampath_jax.data.inspect import TileFacts, inspect_tile
from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.problems import NAMES_SHOWN, Problems
from sampath_jax.data.source import TileSource, source_of
from sampath_jax.data.tile import SPLITS, Tile, shared_slides

#: Tiles from which a progress bar is worth its lines.
PROGRESS_FROM = 100


@dataclass(frozen=True)
class DatasetReport:
    """What a checked data set holds."""

    index: TileIndex
    counts: dict[str, Int[np.ndarray, "256"]]  # pixels of each raw value, by split
    sizes: tuple[tuple[int, int], ...]  # the different (height, width) of the tiles, rising
    warnings: tuple[str, ...]

    def shares(self, split: str) -> np.ndarray:
        """Share of the pixels of `split` with label 0, 1..k; zeros for an empty split."""
        return self.index.labels.count(self.counts[split]) / max(1, self.counts[split].sum())

    def rows(self) -> list[tuple[object, ...]]:
        """The label table: label, class, raw values, share of the pixels of train, val and test."""
        spec = self.index.labels
        shares = np.stack([self.shares(split) for split in SPLITS])
        named = [("unlabelled", spec.ignored), *((c.name, c.values) for c in spec.classes)]
        return [
            (label, name, ", ".join(map(str, values)) or "none", *map("{:7.2%}".format, shares[:, label]))
            for label, (name, values) in enumerate(named)
        ]


def check_dataset(config: ConfigDict, devices: int = 1) -> DatasetReport:
    """Reads every tile of every split.

    Of the test split too: a broken mask is found now and not when the training is over. Beyond the shares of
    its labels nothing of it is kept, and training never opens it.

    Args:
        config: the experiment.
        devices: how many devices a training batch is spread over.

    Raises:
        InputError: with one table of all problems: their files (the first 20 and a count) and what to do.
    """
    index, problems = scan(config)
    facts = _inspect_all(source_of(config, index.tiles))
    problems.extend(fact.problems for fact in facts)
    _note_unknown_values(index, facts, problems)
    counts = {split: np.zeros(256, np.int64) for split in SPLITS}
    for tile, fact in zip(index.tiles, facts, strict=True):
        counts[tile.split] += fact.counts
    if index.tiles:
        _note_splits(config, index, devices, problems)
    if not problems:  # broken masks would make every class look rare
        _note_absent_classes(index.labels, counts["train"], problems)
    problems.raise_if_any(f"the data set {config.data.root!r} cannot be used")
    sizes = tuple(sorted({fact.size for fact in facts}))
    return DatasetReport(index, counts, sizes, tuple(_warnings(index, problems.notes)))


def check_split(config: ConfigDict, split: str) -> None:
    """Reads every tile of one split, for the use of a trained model: no demand that only training makes.

    Raises:
        InputError: as `check_dataset`.
    """
    index, problems = scan(config)
    index = TileIndex(index.split(split), index.labels)
    facts = _inspect_all(source_of(config, index.tiles))
    problems.extend(fact.problems for fact in facts)
    _note_unknown_values(index, facts, problems)
    problems.raise_if_any(f"the {split} split of {config.data.root!r} cannot be used")


def print_report(report: DatasetReport, canvas: tuple[int, int]) -> None:
    """Prints the label table, the splits, and the warnings."""
    splits = [(name, report.index.split(name)) for name in SPLITS]
    console.table("Labels (share of pixels)", ("label", "class", "raw values", *SPLITS), report.rows())
    console.table(
        "Tiles",
        ("split", "tiles", "slides", "folds"),
        [(name, len(tiles), len({tile.slide for tile in tiles}), _folds(tiles)) for name, tiles in splits],
    )
    if report.sizes != (tuple(canvas),):
        (low_h, low_w), (high_h, high_w) = np.min(report.sizes, 0), np.max(report.sizes, 0)
        sizes = f"{low_w}x{low_h}" + f" to {high_w}x{high_h}" * (len(report.sizes) > 1)
        text = f"Tiles of {sizes} pixels are resized to the canvas of {canvas[1]}x{canvas[0]}."
        console.out.print(text, soft_wrap=True)
    for message in report.warnings:
        console.warning(message)


def _inspect_all(source: TileSource) -> list[TileFacts]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the interpreter lock
        results = pool.map(lambda i: inspect_tile(source, i), range(len(source)))
        few = len(source) < PROGRESS_FROM
        bar = track(results, "Checking tiles", len(source), console=console.err, transient=True, disable=few)
        return list(bar)


def _note_unknown_values(index: TileIndex, facts: Sequence[TileFacts], problems: Problems) -> None:
    known = ", ".join(map(str, index.labels.known))
    for tile, fact in zip(index.tiles, facts, strict=True):
        unknown = index.labels.unknown_values(np.flatnonzero(fact.counts))
        if unknown:
            where = f"{tile.mask_name}: {', '.join(map(str, unknown))}"
            remedy = f"known are {known}: add them to a class or to config.data.ignored"
            problems.add("mask with unknown values", where, remedy)


def _note_splits(config: ConfigDict, index: TileIndex, devices: int, problems: Problems) -> None:
    train, val = len(index.split("train")), len(index.split("val"))
    folds = _folds(index.tiles)
    if not train:
        problems.add("empty split", f"train (folds: {folds})", "add training tiles")
    if not val:
        remedy = f"no tile has fold {config.data.val_fold}; correct config.data.val_fold"
        problems.add("empty split", f"val (folds: {folds})", remedy)
    batch = config.optim.batch_size
    if 0 < train < batch:
        where = f"train: {train} tiles, batches of {batch}"
        problems.add("batch larger than the split", where, "lower config.optim.batch_size")
    if 0 < train < devices:
        problems.add(
            "fewer tiles than devices", f"train: {train} tiles, {devices} devices", "use fewer devices"
        )


def _note_absent_classes(spec: LabelSpec, counts: np.ndarray, problems: Problems) -> None:
    for tissue, pixels in zip(spec.classes, spec.count(counts)[1:], strict=True):
        if not pixels:
            values = ", ".join(map(str, tissue.values))
            problems.add(
                "class never occurs in training",
                f"{tissue.name} (raw {values})",
                "correct its values, or take it out of config.data.classes",
            )


def _warnings(index: TileIndex, notes: Sequence[str]) -> list[str]:
    warnings = list(notes)
    shared = shared_slides(index.tiles)
    if shared:
        some = [f"{slide} ({', '.join(splits)})" for slide, splits in list(shared.items())[:NAMES_SHOWN]]
        more = f" and {len(shared) - NAMES_SHOWN} more" if len(shared) > NAMES_SHOWN else ""
        slides = len({tile.slide for tile in index.tiles})
        warnings.append(
            f"{len(shared)} of {slides} slides have tiles in two splits or more, so scores on them flatter: "
            f"{'; '.join(some)}{more}. Folds drawn per slide avoid it (python -m sampath_jax.prepare)."
        )
    if not index.split("test"):
        warnings.append("there are no test tiles; `evaluate --split test` will have nothing to score")
    return warnings


def _folds(tiles: Sequence[Tile]) -> str:
    return ", ".join(map(str, sorted({tile.fold for tile in tiles}))) or "none"
