"""Results in the terminal, for 80 columns."""

import math
from collections.abc import Sequence
from typing import Any

from sampath_jax import console
from sampath_jax.evaluation.bootstrap import Interval
from sampath_jax.evaluation.results import Results

#: Shown for a score that is not defined.
UNDEFINED = "-"


def print_results(results: Results) -> None:
    """Prints scores per class and overall with their intervals, and the published figures beside them."""
    per_class, overall = results.scores.per_class(), results.scores.overall()
    rows = [
        _row(results, name, (scores["dice"], scores["iou"]), (f"dice/{name}", f"iou/{name}"))
        for name, scores in per_class.items()
    ]
    for title, kind in (("mean of classes (macro)", "macro"), ("all pixels (micro)", "micro")):
        names = f"{kind}_dice", f"{kind}_iou"
        rows.append(_row(results, title, [overall[name] for name in names], names))
    what = f"{len(results.tiles):,} tiles of {len(set(results.slides)):,} slides"
    console.table(f"Scores of {what}", ("class", "Dice", "95 %", "IoU", "95 %"), rows)
    labelled = max(1, results.scores.support.sum())
    console.table(
        "Pixels",
        ("class", "labelled pixels", "share", "precision", "recall"),
        [
            (
                name,
                f"{s['pixels']:,}",
                f"{s['pixels'] / labelled:.1%}",
                *map(_number, (s["precision"], s["recall"])),
            )
            for name, s in per_class.items()
        ],
    )
    limits = _interval(results.intervals["accuracy"])
    console.out.print(f"Pixel accuracy {_number(overall['accuracy'])} ({limits})\n")
    console.table(
        "The published code's figures",
        ("score", "value"),
        [(name, _number(value)) for name, value in results.published.items()],
    )
    console.out.print(results.published_explanation, soft_wrap=True)
    _print_notes(results)


def _print_notes(results: Results) -> None:
    if any(math.isnan(value) for value in results.scores.dice):
        console.out.print(
            f"{UNDEFINED}: the class is neither in the truth nor predicted; it is left out of macro scores."
        )
    if len(set(results.slides)) < 2:
        console.warning(f"there is only one {results.unit}, so there are no intervals")
    elif results.unit == "tile":
        console.out.print("Intervals are over tiles: the data set names no slides that share tiles.")


def _row(results: Results, title: str, values: Sequence[Any], names: Sequence[str]) -> tuple[str, ...]:
    """Title, Dice, its interval, IoU, its interval."""
    cells = [(_number(v), _interval(results.intervals[n])) for v, n in zip(values, names, strict=True)]
    return title, *cells[0], *cells[1]


def _number(value: Any) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:.4f}"


def _interval(interval: Interval) -> str:
    low, high = interval
    return UNDEFINED if math.isnan(low) else f"{low:.3f} to {high:.3f}"
