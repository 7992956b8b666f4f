"""What evaluating a split left in a work directory (`evaluation.results`), read back."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from sampath_jax.errors import InputError

#: In the order in which a report prefers them.
SPLITS = ("test", "val", "train")
#: ``source.size`` where every tile was scored at its own.
OWN_SIZE = "own"


@dataclass(frozen=True)
class TileScore:
    """A row of ``per_tile.csv``; a score that is not defined is None."""

    id: str
    slide: str
    macro_dice: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Evaluation:
    """The files of one evaluated split.

    Attributes:
        folder: ``evaluation/<split>``.
        scores: ``scores.json``, see `evaluation.results.Results.to_json`.
        tiles: in the order of the split.
        confusion: pixels [k, k+1], rows true, columns predicted, the last column predicted as no class.
    """

    folder: Path
    scores: dict[str, Any]
    tiles: tuple[TileScore, ...]
    confusion: Int[np.ndarray, "k m"]

    @property
    def split(self) -> str:
        """Its name."""
        return self.folder.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, label 1 first."""
        return tuple(self.scores["classes"])

    @property
    def seconds_per_tile(self) -> float | None:
        """Mean time of predicting a tile on `device`, None where it was not recorded.

        From the image in memory to its mask, after the program was compiled.
        """
        return self.scores["source"].get("seconds_per_tile")

    @property
    def device(self) -> str | None:
        """What predicted, such as ``2 x NVIDIA H100``; None where it was not recorded."""
        return self.scores["source"].get("device")

    @property
    def heads(self) -> int:
        """How many heads' probabilities were averaged; 1 is no ensemble."""
        return len(self.scores["source"].get("ensemble", (None,)))

    @property
    def canvas(self) -> tuple[int, int] | None:
        """Height and width that all tiles were scored at, None where each was at its own size."""
        size = self.scores["source"].get("size", OWN_SIZE)
        return None if size == OWN_SIZE else tuple(size)


def read_evaluation(workdir: Path, split: str) -> Evaluation | None:
    """The evaluation of `split`, None if there is none.

    Raises:
        InputError: its files are damaged.
    """
    folder = workdir / "evaluation" / split
    if not (folder / "scores.json").is_file():
        return None
    try:
        scores = json.loads((folder / "scores.json").read_text())
        with open(folder / "per_tile.csv", newline="") as file:
            tiles = tuple(_tile(row) for row in csv.DictReader(file))
        with open(folder / "confusion.csv", newline="") as file:
            rows = list(csv.reader(file))[1:]
        confusion = np.array([[int(cell) for cell in row[1:]] for row in rows], np.int64)
        if confusion.shape != (len(scores["classes"]), len(scores["classes"]) + 1):
            raise ValueError(f"confusion.csv has the shape {confusion.shape}")
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"the results in {folder} are damaged ({error}): evaluate again with "
            f"`python -m sampath_jax.evaluate --workdir {workdir} --split {split}`"
        ) from error
    return Evaluation(folder, scores, tiles, confusion)


def evaluated_splits(workdir: Path) -> tuple[str, ...]:
    """The splits that have results, the test split first."""
    return tuple(s for s in SPLITS if (workdir / "evaluation" / s / "scores.json").is_file())


def _tile(row: dict[str, str]) -> TileScore:
    return TileScore(row["tile"], row["slide"], _number(row["macro_dice"]), _number(row["accuracy"]))


def _number(cell: str) -> float | None:
    return float(cell) if cell else None
