"""What a reader must know to read the tables of a comparison rightly."""

from collections.abc import Iterable, Sequence

from sampath_jax.reporting.comparison import ComparedRun
from sampath_jax.reporting.paper import VANILLA, iou_of_dice


def notes(runs: Sequence[ComparedRun]) -> list[str]:
    """Sentences below the tables; each only where a run needs it."""
    return [*_scores(runs), *_paper(runs), *_costs(runs)]


def _scores(runs: Sequence[ComparedRun]) -> Iterable[str]:
    evaluated = [run.evaluation for run in runs if run.evaluation]
    if evaluated:
        units = sorted({f"{evaluation.scores['intervals']['unit']}s" for evaluation in evaluated})
        yield (
            f"Brackets: 95 % bootstrap intervals over {' or '.join(units)}. Micro pools the pixels of all "
            "classes, macro is the mean of the classes."
        )
    if len(evaluated) < len(runs):
        yield (
            '"/": segment-everything finds masks without classes, so it has no semantic score, as in the '
            "paper's table 1. Look at its overlays."
        )
    yield from _sizes(runs)
    if len({run.classes for run in runs}) > 1:
        yield "The runs do not have the same classes: compare scores only within a data set."


def _sizes(runs: Sequence[ComparedRun]) -> Iterable[str]:
    """On which grid pixels were counted: it is another one for a baseline than for a trained model."""
    places: dict[str, list[str]] = {}
    for run in runs:
        if run.evaluation:
            canvas = run.evaluation.canvas
            place = "at each tile's own size"
            if canvas:
                place = f"on the canvas of {canvas[1]} x {canvas[0]} pixels"
            places.setdefault(place, []).append(run.name)
    if len(places) == 1:
        yield f"Pixels are counted {next(iter(places))}."
    elif places:
        where = "; ".join(f"{place} for {', '.join(names)}" for place, names in places.items())
        yield (
            f"Pixels are counted {where}. Images and masks are resized to a canvas, as published, which can "
            "move a border by a pixel."
        )


def _paper(runs: Sequence[ComparedRun]) -> Iterable[str]:
    rows = [run.paper for run in runs if run.paper]
    if rows or any(run.dropped for run in runs):
        yield (
            "Published figures are computed as the released code does, to compare with the paper's table 1. "
            '"True IoU" is Dice / (2 - Dice) of that Dice, exact for one class and for pooled pixels.'
        )
    if rows:
        yield (
            "A row of the paper stands below a run of the same system whose masks have that data set's label "
            f"table. {_tiles(runs)}"
        )
    if any(row.is_recall for row in rows):
        yield (
            "The IOU that the paper prints for models trained on CRAG does not follow from their Dice: it is "
            "the gland recall, because pixels whose truth is background are dropped before it is computed, "
            "false positives included."
        )
    vanilla = next((row for row in rows if row.system.startswith(VANILLA) and row.dice is not None), None)
    if vanilla and vanilla.dice is not None:
        yield (
            "The paper's rows of vanilla SAM hold a true IoU, so set it beside that of our run: "
            f"{vanilla.dice:.4f} / (2 - {vanilla.dice:.4f}) = {iou_of_dice(vanilla.dice):.4f}; printed is "
            f"{vanilla.iou:.4f}, the same within rounding."
        )


def _tiles(runs: Sequence[ComparedRun]) -> str:
    """Which runs cannot have been scored on the tiles of the paper."""
    others: dict[str, list[str]] = {}
    for run in runs:
        if run.paper and run.evaluation and (tiles := run.evaluation.scores["tiles"]) != run.paper.tiles:
            data = f"{run.paper.data}'s {run.paper.tiles:,} test tiles"
            others.setdefault(data, []).append(f"{run.name} ({tiles:,})")
    if not others:
        return "As many tiles were scored as the paper's test split has."
    return " ".join(f"Not scored on {data}: {', '.join(names)}." for data, names in others.items())


def _costs(runs: Sequence[ComparedRun]) -> Iterable[str]:
    yield (
        "Seconds per tile: mean time from the image in memory to its mask, once compiled, nothing read or "
        "written; trained models in batches of config.eval.batch_size, baselines tile by tile with all their "
        "dots. Compare them on the same device only."
    )
