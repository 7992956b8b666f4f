"""The part of a report that says how good the model is: scores, confusion, tiles, learning curves."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from sampath_jax.reporting import figures
from sampath_jax.reporting.contents import CheckpointFacts, Contents
from sampath_jax.reporting.evaluation_files import Evaluation
from sampath_jax.reporting.examples import Example, jpeg
from sampath_jax.reporting.html import Html, element, table

#: Shown for a score that is not defined.
UNDEFINED = "\N{EN DASH}"
#: Colours of the classes by name, label 1 first.
Colors = Mapping[str, str]
#: Value and 95 % interval, as in ``scores.json``.
Score = Mapping[str, float | None]


def results(contents: Contents) -> list[Html]:
    """Scores per class and overall with intervals, the published code's figures, and other splits."""
    evaluation, command = contents.evaluation, element("code", contents.evaluate_command)
    if evaluation is None:
        what = f"The {contents.split} split has not been evaluated yet. To score it, run "
        return [element("h2", "Results"), missing(what, command)]
    return [
        element("h2", f"Results on the {evaluation.split} split"),
        *_stale(evaluation, contents.best, command),
        _scored(evaluation),
        _score_tables(evaluation, contents.colors),
        *_notes(evaluation),
        *_published(evaluation.scores),
        *_other_splits(contents),
    ]


def missing(*what: object) -> Html:
    """A sentence on what is not there, and how to get it."""
    return element("p", *what, class_="missing")


def number(value: float | None, digits: int = 4) -> str:
    """A score, or a dash."""
    return UNDEFINED if value is None else f"{value:.{digits}f}"


def interval(score: Score, digits: int = 3) -> str:
    """Its 95 % interval, or nothing where there is none."""
    low, high = score["low"], score["high"]
    return "" if low is None else f"{low:.{digits}f}\N{EN DASH}{high:.{digits}f}"


def with_interval(score: Score) -> list[object]:
    """A score with its interval in small print."""
    return [number(score["value"]), " ", element("span", interval(score), class_="ci")]


def swatch(color: str) -> Html:
    """A square of a class's colour."""
    return element("span", class_="swatch", style=f"background:{color}")


def legend(colors: Colors) -> Html:
    """Class colours with names."""
    return element("div", [element("span", swatch(c), name) for name, c in colors.items()], class_="legend")


def _score_tables(evaluation: Evaluation, colors: Colors) -> Html:
    """Dice and IoU in one table, precision, recall and pixels in another: both fit on a telephone."""
    scores = evaluation.scores
    named = {name: [swatch(colors[name]), name] for name in scores["classes"]}
    left: list[Sequence[object]] = [
        (named[name], with_interval(values["dice"]), with_interval(values["iou"]))
        for name, values in scores["classes"].items()
    ]
    for title, kind in (("Mean of classes (macro)", "macro"), ("All pixels (micro)", "micro")):
        left.append(
            (title, *(with_interval(scores["overall"][f"{kind}_{score}"]) for score in ("dice", "iou")))
        )
    right: list[Sequence[object]] = [
        (
            named[name],
            with_interval(values["precision"]),
            with_interval(values["recall"]),
            f"{values['pixels']:,}",
        )
        for name, values in scores["classes"].items()
    ]
    right.append(("All labelled pixels", "", "", f"{scores['labelled_pixels']:,}"))
    return element(
        "div",
        table(("Class", "Dice", "IoU"), left, numeric=(1, 2), foot=2),
        table(("Class", "Precision", "Recall", "Pixels"), right, numeric=(1, 2, 3), foot=1),
        class_="pair",
    )


def _scored(evaluation: Evaluation) -> Html:
    scores, drawn = evaluation.scores, evaluation.scores["intervals"]
    return element(
        "p",
        f"{_count(scores['tiles'], 'tile')} of {_count(scores['slides'], 'slide')}. In grey: 95 % intervals, "
        f"bootstrap over {_count(drawn['units'], drawn['unit'])}, {drawn['replicates']:,} replicates.",
        class_="note",
    )


def _stale(evaluation: Evaluation, best: CheckpointFacts | None, command: Html) -> list[Html]:
    step = evaluation.scores["source"].get("step")
    if best is None or step is None or step == best.step:
        return []
    what = f"These scores are of the checkpoint of step {step:,}; the best one is that of step {best.step:,}."
    return [missing(what, " To score that one, run ", command)]


def _notes(evaluation: Evaluation) -> list[Html]:
    notes = []
    if any(values["dice"]["value"] is None for values in evaluation.scores["classes"].values()):
        notes.append(
            f"{UNDEFINED}: the class is neither in the truth nor predicted; macro scores leave it out."
        )
    if evaluation.scores["intervals"]["units"] < 2:
        notes.append("There are no intervals, as there is only one slide.")
    return [element("p", note, class_="note") for note in notes]


def _published(scores: Mapping[str, Any]) -> list[Html]:
    rows = [(element("code", name), number(value)) for name, value in scores["published"].items()]
    return [
        element("h3", "What the published code would print"),
        element("p", scores["published_explanation"], " Do not compare these with the scores above."),
        table(("Figure", "Value"), rows, numeric=(1,)),
    ]


def _other_splits(contents: Contents) -> list[Html]:
    if not contents.other_splits:
        return []
    names = ", ".join(contents.other_splits)
    text = f"Also evaluated: {names}. For a report on that split, run "
    command = (
        f"python -m sampath_jax.report --workdir {contents.workdir.path} --split {contents.other_splits[0]}"
    )
    return [element("p", text, element("code", command), class_="note")]


def confusion(evaluation: Evaluation, colors: Colors) -> list[Html]:
    """The confusion matrix, shaded by the share of each true class."""
    counts = evaluation.confusion
    columns = list(evaluation.classes)
    if counts[:, -1].any():
        columns.append("none")
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    rows = [
        ([swatch(colors[name]), name], *map(_shaded, shares[i, : len(columns)].tolist(), counts[i].tolist()))
        for i, name in enumerate(evaluation.classes)
    ]
    about = (
        "Rows: true class; columns: predicted class. Share of the row's pixels (the diagonal is the recall), "
        "and pixels."
    )
    matrix = element("div", table(("", *columns), rows), class_="matrix", style=f"--columns:{len(columns)}")
    return [element("h2", "Confusion matrix"), element("p", about, class_="note"), matrix]


def _shaded(share: float, pixels: int) -> Html:
    """A cell's content on its shade; negative margins let the colour fill the cell."""
    ink = "#fff" if share > 0.6 else figures.INK
    style = f"background:{to_hex(figures.SHADES(share))};color:{ink}"
    content = f"{share:.1%}", element("small", f"{pixels:,}")
    return element("div", *content, class_="shade", style=style)


def tiles(contents: Contents) -> list[Html]:
    """Best, median and worst tiles."""
    heading = element("h2", f"Best, median and worst {contents.split} tiles")
    if not contents.examples:
        return [heading, missing(contents.no_examples)]
    about = (
        "Ranked by each tile's own macro Dice. Left to right: image, ground truth, prediction. Unlabelled "
        "pixels of the truth are not coloured and not scored."
    )
    if hidden := contents.colors.keys() - contents.drawn_colors.keys():
        about += f" Pixels of {', '.join(hidden)} are scored, but not coloured."
    shown = [_tile(example) for example in contents.examples]
    return [
        heading,
        element("p", about, class_="note"),
        legend(contents.drawn_colors),
        element("div", shown, class_="tiles"),
    ]


def _tile(example: Example) -> Html:
    score = example.score
    pictures = [
        element(
            "img",
            src=f"data:image/jpeg;base64,{base64.b64encode(jpeg(picture)).decode()}",
            alt=f"{score.id}: {what}",
            width=picture.shape[1],
            height=picture.shape[0],
        )
        for what, picture in (
            ("image", example.image),
            ("ground truth", example.truth),
            ("prediction", example.prediction),
        )
    ]
    caption = element(
        "figcaption",
        element("b", example.rank),
        f" · macro Dice {number(score.macro_dice, 3)} · accuracy {number(score.accuracy, 3)} · {score.id}",
    )
    return element("figure", caption, element("div", pictures, class_="triple"))


def learning_curves(contents: Contents) -> list[Html]:
    """Losses and validation scores by epoch."""
    heading = element("h2", "Learning curves")
    if not contents.metrics:
        return [
            heading,
            missing("No learning curves: this folder has no metrics.jsonl with evaluations in it."),
        ]
    panels = figures.curve_panels(contents.metrics, contents.colors)
    drawn = [Html(figures.inline_svg(panel, name)) for name, panel in panels.items()]
    return [heading, element("div", drawn, class_="curves")]


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
