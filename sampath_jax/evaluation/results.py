"""Everything that evaluating a split gives, and the files that it is kept in.

    scores.json      see `Results.to_json`: what was scored, scores with intervals, published figures
    per_tile.csv     a row per tile: tile, slide, labelled pixels, overall scores, dice/<class>, iou/<class>
    confusion.csv    pixels, a row per true class, a column per predicted class and one for "none"
    predictions/     <tile>.png: masks in the data set's own values, at the tile's own size

In CSV files a score that is not defined (see `evaluation.metrics`) is an empty cell, in JSON null.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from sampath_jax.cli import command_line
from sampath_jax.evaluation import bootstrap
from sampath_jax.evaluation.metrics import OVERALL, PER_CLASS, Scores
from sampath_jax.evaluation.published import explanation, published_scores
from sampath_jax.workdir import explain_os_errors, write_atomically

#: Column of pixels whose prediction is no class, which only masks of other tools have.
NO_CLASS = "none"
#: Libraries that can change a number.
LIBRARIES = ("sampath-jax", "jax", "flax", "numpy", "opencv-python-headless")


@dataclass(frozen=True)
class Results:
    """Counts of every tile, and what follows from them.

    Attributes:
        classes: names, label 1 first.
        tiles: names, in the order of `confusions`.
        slides: of each tile.
        confusions: pixels [n, k+1, k+1] per tile, rows true, columns predicted, 0 = unlabelled or no class.
        source: what was evaluated, for the record: JSON.
        published_ignored_class: label that the published figures leave out, 0 for none.
    """

    classes: tuple[str, ...]
    tiles: tuple[str, ...]
    slides: tuple[str, ...]
    confusions: Int[np.ndarray, "n k k"]
    source: Mapping[str, Any]
    published_ignored_class: int = 0

    @cached_property
    def confusion(self) -> Int[np.ndarray, "k k"]:
        """Counts of all tiles together."""
        return self.confusions.sum(0)

    @cached_property
    def scores(self) -> Scores:
        """Scores of all pixels pooled."""
        return Scores.from_confusion(self.confusion, self.classes)

    @cached_property
    def tile_scores(self) -> Scores:
        """Scores of each tile; arrays have a leading axis of tiles."""
        return Scores.from_confusion(self.confusions, self.classes)

    @cached_property
    def unit(self) -> str:
        """What the intervals draw: ``slide``, or ``tile`` where every tile is a slide of its own."""
        return "slide" if len(set(self.slides)) < len(self.tiles) else "tile"

    @cached_property
    def intervals(self) -> dict[str, bootstrap.Interval]:
        """95 % intervals, by names as in `bootstrap.score_intervals`."""
        _, pooled = bootstrap.pool_by_slide(self.confusions, self.slides)
        return bootstrap.score_intervals(pooled, self.classes)

    @property
    def published(self) -> dict[str, float]:
        """The published code's figures."""
        return published_scores(self.confusion, self.published_ignored_class)

    @property
    def published_explanation(self) -> str:
        """One sentence on how the published figures differ."""
        return explanation(self.classes, self.published_ignored_class)

    def to_json(self) -> dict[str, Any]:
        """All of it but the tiles, as plain numbers.

        ``overall`` and ``classes.<name>`` map a score to ``{"value", "low", "high"}`` (95 % interval), and a
        class's ``pixels`` to how many are labelled so. ``published`` maps ``published/...`` to a number.
        """
        overall, per_class = self.scores.overall(), self.scores.per_class()
        return {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command_line(),
            "versions": {name: version(name) for name in LIBRARIES},
            "source": dict(self.source),
            "tiles": len(self.tiles),
            "slides": len(set(self.slides)),
            "labelled_pixels": int(self.scores.support.sum()),
            "overall": {name: self._with_interval(overall[name], name) for name in OVERALL},
            "classes": {
                name: {s: self._with_interval(scores[s], f"{s}/{name}") for s in PER_CLASS}
                | {"pixels": int(scores["pixels"])}
                for name, scores in per_class.items()
            },
            "published": self.published,
            "published_explanation": self.published_explanation,
            "intervals": {
                "percent": list(bootstrap.LIMITS),
                "unit": self.unit,
                "units": len(set(self.slides)),
                "replicates": bootstrap.REPLICATES,
                "seed": 0,
            },
        }

    def _with_interval(self, value: Any, name: str) -> dict[str, float | None]:
        low, high = self.intervals[name]
        return {"value": finite(value), "low": finite(low), "high": finite(high)}

    def write(self, folder: Path) -> None:
        """Writes ``scores.json``, ``per_tile.csv`` and ``confusion.csv`` to `folder`.

        Raises:
            InputError: a full disk, a missing permission.
        """
        with explain_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / "per_tile.csv", _csv(self._tile_rows()))
            write_atomically(folder / "confusion.csv", _csv(self._confusion_rows()))
            write_atomically(folder / "scores.json", json.dumps(self.to_json(), indent=2) + "\n")

    def _tile_rows(self) -> Iterable[Sequence[object]]:
        scores = self.tile_scores
        columns = {name: getattr(scores, name) for name in OVERALL}
        for score in ("dice", "iou"):
            columns |= {
                f"{score}/{name}": getattr(scores, score)[:, c] for c, name in enumerate(self.classes)
            }
        yield ("tile", "slide", "labelled_pixels", *columns)
        for i, (tile, slide) in enumerate(zip(self.tiles, self.slides, strict=True)):
            yield (tile, slide, scores.support[i].sum(), *(finite(values[i]) for values in columns.values()))

    def _confusion_rows(self) -> Iterable[Sequence[object]]:
        yield ("true \\ predicted", *self.classes, NO_CLASS)
        for name, row in zip(self.classes, self.confusion[1:], strict=True):
            yield (name, *row[1:], row[0])


def finite(value: Any) -> float | None:
    """The number, None where it is not defined."""
    return None if math.isnan(value) else float(value)


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
