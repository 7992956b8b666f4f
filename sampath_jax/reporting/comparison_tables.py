"""A comparison as Markdown, CSV and HTML: three narrow tables instead of a wide one."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from sampath_jax.evaluation.metrics import OVERALL
from sampath_jax.reporting.comparison import ComparedRun
from sampath_jax.reporting.html import element, page, table
from sampath_jax.reporting.paper import iou_of_dice
from sampath_jax.reporting.style import CSS

#: What is not known or not defined.
NONE = "-"
SHOWN = {
    "macro_dice": "Macro Dice",
    "macro_iou": "Macro IoU",
    "micro_dice": "Micro Dice",
    "micro_iou": "Micro IoU",
}


@dataclass(frozen=True)
class TextTable:
    """A table of text; `numeric` tells which columns hold numbers."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: range


def tables(runs: Sequence[ComparedRun]) -> list[TextTable]:
    """Scores, published figures beside the paper's, costs."""
    found = [_scores(runs), _costs(runs)]
    if any(run.dropped for run in runs) or any(run.paper for run in runs):
        found.insert(1, _published(runs))
    return found


def notes(runs: Sequence[ComparedRun]) -> list[str]:
    """What a reader must know to read the tables rightly."""
    drawn = [run.evaluation.scores["intervals"] for run in runs]
    units = sorted({f"{d['unit']}s" for d in drawn})
    text = [
        f"Brackets: 95 % bootstrap intervals over {' or '.join(units)}. Micro pools the pixels of all "
        "classes, macro is the mean of the classes."
    ]
    if any(run.dropped for run in runs) or any(run.paper for run in runs):
        text.append(
            "Published figures are computed as the released code does, to compare with the paper's table 1. "
            '"True IoU" is Dice / (2 - Dice) of that Dice, exact for one class and for pooled pixels.'
        )
    if any(run.paper and not run.paper.is_iou for run in runs):
        text.append(
            "The IOU that the paper prints for models trained on CRAG does not follow from their Dice: it is "
            "the gland recall, because pixels whose truth is background are dropped before it is computed, "
            "false positives included."
        )
    if vanilla := next((run.paper for run in runs if run.paper and "Vanilla" in run.paper.system), None):
        text.append(
            "The paper's rows of vanilla SAM hold a true IoU, so set it beside that of our run: "
            f"{vanilla.dice:.4f} / (2 - {vanilla.dice:.4f}) = {iou_of_dice(vanilla.dice):.4f}; printed is "
            f"{vanilla.iou:.4f}, the same within rounding."
        )
    if len({run.classes for run in runs}) > 1:
        text.append("The runs do not have the same classes: compare scores only within a data set.")
    text.append(
        "Seconds per tile: a trained model's include reading, compiling and writing, a baseline's are the "
        "median prediction; compare them on the same device only."
    )
    return text


def _scores(runs: Sequence[ComparedRun]) -> TextTable:
    rows = []
    for run in runs:
        overall = run.evaluation.scores["overall"]
        cells = [_bracketed(overall[score]) for score in SHOWN]
        rows.append((run.name, run.experiment, *cells))
    title = f"Scores on the {runs[0].evaluation.split} split"
    return TextTable(title, ("Run", "Experiment", *SHOWN.values()), rows, range(2, 6))


def _bracketed(score: dict[str, float | None]) -> str:
    value, low, high = (score[part] for part in ("value", "low", "high"))
    if value is None:
        return NONE
    return f"{value:.4f}" if low is None else f"{value:.4f} [{low:.3f}, {high:.3f}]"


def _published(runs: Sequence[ComparedRun]) -> TextTable:
    rows = []
    for run in runs:
        ours = run.evaluation.scores["published"]
        dice, iou = ours["published/dice"], ours["published/iou"]
        rows.append((run.name, "this run", *_figures(dice, iou), run.published_iou_meaning))
        if run.paper:
            who = f"paper: {run.paper.system}, {run.paper.data}"
            rows.append(("", who, *_figures(run.paper.dice, run.paper.iou), run.paper.meaning))
    header = ("Run", "Source", "published/dice", "published/iou", "True IoU", "published/iou is")
    return TextTable("The published code's figures, and the paper's table 1", header, rows, range(2, 5))


def _figures(dice: float, iou: float) -> tuple[str, str, str]:
    return f"{dice:.4f}", f"{iou:.4f}", f"{iou_of_dice(dice):.4f}"


def _costs(runs: Sequence[ComparedRun]) -> TextTable:
    rows = []
    for run in runs:
        evaluation, seconds = run.evaluation, run.evaluation.seconds_per_tile
        rows.append(
            (
                run.name,
                run.model,
                f"{run.parameters.learning:,}",
                f"{run.parameters.total:,}",
                f"{evaluation.scores['tiles']:,}",
                NONE if seconds is None else f"{seconds:.3g}",
                str(evaluation.scores["source"].get("devices", NONE)),
            )
        )
    header = ("Run", "Model", "Trainable", "Parameters", "Tiles", "Seconds per tile", "Devices")
    return TextTable("Cost", header, rows, range(2, 6))


def to_markdown(runs: Sequence[ComparedRun]) -> str:
    """The tables and notes for a README or a notebook."""
    text = ["# Comparison", ""]
    for found in tables(runs):
        align = ["---:" if i in found.numeric else "---" for i in range(len(found.header))]
        lines = [found.header, align, *found.rows]
        text += [f"## {found.title}", "", *(f"| {' | '.join(map(_cell, line))} |" for line in lines), ""]
    return "\n".join([*text, *(f"- {note}" for note in notes(runs))]) + "\n"


def _cell(text: str) -> str:
    """Text that cannot end a cell or start markup."""
    return (
        text.replace("\\", "\\\\")
        .replace("|", "\\|")
        .replace("<", "&lt;")
        .replace("_", "\\_")
        .replace("\n", " ")
    )


def to_html(runs: Sequence[ComparedRun]) -> str:
    """The tables and notes as one page that opens offline."""
    parts = [
        [
            element("h2", found.title),
            table(found.header, found.rows, numeric=found.numeric),
        ]
        for found in tables(runs)
    ]
    head = element(
        "header",
        element("p", "SAM-Path comparison", class_="kind"),
        element("h1", f"{len(runs)} runs" if len(runs) > 1 else runs[0].name),
    )
    return page(
        "SAM-Path comparison", CSS, head, parts, [element("p", n, class_="note") for n in notes(runs)]
    )


def to_csv(runs: Sequence[ComparedRun]) -> str:
    """One row per run with every number; a value that is not known is empty."""
    file = io.StringIO()
    rows = [_record(run) for run in runs]
    writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _record(run: ComparedRun) -> dict[str, object]:
    scores, paper = run.evaluation.scores, run.paper
    row: dict[str, object] = {
        "run": run.name,
        "experiment": run.experiment,
        "split": run.evaluation.split,
        "model": run.model,
        "tiles": scores["tiles"],
        "slides": scores["slides"],
    }
    for name in OVERALL:
        for part, value in scores["overall"][name].items():
            row[name if part == "value" else f"{name}_{part}"] = value
    for name, values in scores["classes"].items():
        row |= {f"{score}/{name}": values[score]["value"] for score in ("dice", "iou")}
    row |= scores["published"]
    row |= {
        "published/iou is": run.published_iou_meaning,
        "paper/dice": paper.dice if paper else None,
        "paper/iou": paper.iou if paper else None,
        "paper/iou is": paper.meaning if paper else None,
        "trainable_parameters": run.parameters.learning,
        "parameters": run.parameters.total,
        "seconds_per_tile": run.evaluation.seconds_per_tile,
        "devices": scores["source"].get("devices"),
    }
    return row
