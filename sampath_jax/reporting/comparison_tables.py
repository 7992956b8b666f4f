"""A comparison as Markdown, CSV and HTML: three narrow tables instead of a wide one."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from sampath_jax.evaluation.metrics import OVERALL, PER_CLASS
from sampath_jax.reporting.comparison import ComparedRun, Score
from sampath_jax.reporting.comparison_notes import notes
from sampath_jax.reporting.evaluation_files import Evaluation
from sampath_jax.reporting.html import element, page, table
from sampath_jax.reporting.paper import PaperRow, iou_of_dice
from sampath_jax.reporting.style import CSS

#: What is not known or not defined.
NONE = "-"
#: A score of what has no classes, as the paper prints it.
SLASH = "/"
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


def _scores(runs: Sequence[ComparedRun]) -> TextTable:
    rows = []
    for run in runs:
        cells = [SLASH] * len(SHOWN)
        if run.evaluation:
            cells = [_bracketed(run.evaluation.scores["overall"][score]) for score in SHOWN]
        rows.append((run.name, run.system, *cells))
    title = f"Scores on the {runs[0].split} split"
    return TextTable(title, ("Run", "System", *SHOWN.values()), rows, range(2, 6))


def _bracketed(score: Score) -> str:
    value, low, high = (score[part] for part in ("value", "low", "high"))
    if value is None:
        return NONE
    return f"{value:.4f}" if low is None else f"{value:.4f} [{low:.3f}, {high:.3f}]"


def _published(runs: Sequence[ComparedRun]) -> TextTable:
    rows = []
    for run in runs:
        ours = [_bracketed(score) for score in run.published] if run.published else [SLASH] * 3
        rows.append((run.name, "this run", *ours, run.published_iou_meaning))
        if run.paper:
            who = f"paper: {run.paper.system}, {run.paper.data}"
            rows.append(("", who, *_printed(run.paper), run.paper.meaning))
    header = ("Run", "Source", "published/dice", "published/iou", "True IoU", "published/iou is")
    return TextTable("The published code's figures, and the paper's table 1", header, rows, range(2, 5))


def _printed(row: PaperRow) -> tuple[str, str, str]:
    if row.dice is None or row.iou is None:
        return SLASH, SLASH, SLASH
    return f"{row.dice:.4f}", f"{row.iou:.4f}", f"{iou_of_dice(row.dice):.4f}"


def _costs(runs: Sequence[ComparedRun]) -> TextTable:
    rows = []
    for run in runs:
        done = run.evaluation
        seconds = done.seconds_per_tile if done else None
        rows.append(
            (
                run.name,
                run.model,
                f"{run.parameters.learning:,}",
                f"{run.parameters.total:,}",
                f"{done.scores['tiles']:,}" if done else NONE,
                NONE if seconds is None else f"{seconds:.3g}",
                (done and done.device) or NONE,
            )
        )
    header = ("Run", "Model", "Trainable", "Parameters", "Tiles", "Seconds per tile", "on")
    return TextTable("Cost", header, rows, range(2, 6))


def to_markdown(runs: Sequence[ComparedRun]) -> str:
    """The tables and notes for a README or a notebook."""
    text = ["# Comparison", ""]
    for found in tables(runs):
        align = ["---:" if i in found.numeric else "---" for i in range(len(found.header))]
        lines = [found.header, align, *found.rows]
        text += [f"## {found.title}", "", *(f"| {' | '.join(map(_cell, line))} |" for line in lines), ""]
    return "\n".join([*text, *(f"- {_cell(note)}" for note in notes(runs))]) + "\n"


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
    return {
        "run": run.name,
        "experiment": run.experiment,
        "system": run.system,
        "split": run.split,
        "model": run.model,
        **(_scores_record(run.evaluation) if run.evaluation else {}),
        **_published_record(run),
        "trainable_parameters": run.parameters.learning,
        "parameters": run.parameters.total,
        "seconds_per_tile": run.evaluation.seconds_per_tile if run.evaluation else None,
        "device": run.evaluation.device if run.evaluation else None,
    }


def _scores_record(evaluation: Evaluation) -> dict[str, object]:
    scores, canvas = evaluation.scores, evaluation.canvas
    row: dict[str, object] = {
        "tiles": scores["tiles"],
        "slides": scores["slides"],
        "scored_at": "x".join(map(str, reversed(canvas))) if canvas else "own size",
        "heads": evaluation.heads,
    }
    for name in OVERALL:
        row |= _with_limits(name, scores["overall"][name])
    for name, values in scores["classes"].items():
        for score in PER_CLASS:
            row |= _with_limits(f"{score}/{name}", values[score])
    return row | scores["published"]


def _published_record(run: ComparedRun) -> dict[str, object]:
    row: dict[str, object] = {"published/iou is": run.published_iou_meaning}
    if run.published:
        row |= _with_limits("published/dice", run.published.dice)
        row |= _with_limits("published/iou", run.published.iou)
    if run.paper:
        row |= {
            "paper/system": run.paper.system,
            "paper/data": run.paper.data,
            "paper/dice": run.paper.dice,
            "paper/iou": run.paper.iou,
            "paper/iou is": run.paper.meaning,
        }
    return row


def _with_limits(name: str, score: Score) -> dict[str, object]:
    return {name if part == "value" else f"{name}_{part}": value for part, value in score.items()}
