"""Figures of a run for its report and for a paper: learning curves, confusion matrix, tiles.

Classes keep the colours of the config. Lines also differ by marker and have a dark edge, so that they can be
told apart in print and with any colour vision.
"""

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Integer
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke

from sampath_jax.reporting.examples import Example

INK, MUTED, RULE, ACCENT = "#1f2933", "#5f6b7a", "#dfe4ea", "#1b6a8c"
#: Losses: total, then its parts.
LOSSES = (
    ("loss", "total", INK),
    ("dice", "Dice", ACCENT),
    ("focal", "focal", "#b3541e"),
    ("iou", "IoU", MUTED),
)
MARKERS = "osD^vPX*"
#: White to the accent colour.
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#9cc7da", ACCENT])
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "svg.fonttype": "none",  # words stay words: searchable, and editable in a drawing program
    "svg.hashsalt": "sampath-jax",
}
Records = Sequence[dict[str, Any]]


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The look of all figures, for as long as the context lasts."""
    with mpl.rc_context(STYLE):
        yield


def curve_panels(records: Records, colors: dict[str, str]) -> dict[str, Figure]:
    """One figure per learning curve, sized for a column of the report: loss, scores, classes."""
    panels = {}
    with style():
        for name, draw in (("loss", _losses), ("scores", _scores), ("classes", _classes)):
            panels[name] = Figure(figsize=(3.9, 3.4), layout="constrained")
            draw(panels[name].subplots(), records, colors)
    return panels


def curves(records: Records, colors: dict[str, str]) -> Figure:
    """All learning curves side by side."""
    with style():
        figure = Figure(figsize=(12, 3.4), layout="constrained")
        axes = figure.subplots(1, 3)
        for ax, draw in zip(axes, (_losses, _scores, _classes), strict=True):
            draw(ax, records, colors)
    return figure


def _losses(ax: Axes, records: Records, colors: dict[str, str]) -> None:
    for key, name, color in LOSSES:
        points = [(r["epoch"], r["train"][key]) for r in records if r["train"].get(key) is not None]
        if points:
            ax.plot(*zip(*points, strict=True), "o-", color=color, label=name, gid=f"train-{key}")
    _finish(ax, "Training loss", "mean since the last evaluation")
    ax.set_ylim(bottom=0)


def _scores(ax: Axes, records: Records, colors: dict[str, str]) -> None:
    for key, name, color, marker in (
        ("macro_dice", "macro Dice", INK, "o"),
        ("macro_iou", "macro IoU", ACCENT, "s"),
    ):
        points = [(r["epoch"], r["val"][key]) for r in records if r["val"].get(key) is not None]
        if not points:
            continue
        ax.plot(*zip(*points, strict=True), f"{marker}-", color=color, label=name, gid=f"val-{key}")
        if key == "macro_dice":
            best = max(points[1:] or points, key=lambda point: point[1])  # the first is of the untrained head
            ax.plot(*best, "o", ms=10, mfc="none", mec=color, mew=1.2)
            ax.annotate(
                f"best {best[1]:.3f}", best, (0, 9), textcoords="offset points", ha="right", color=color
            )
    _finish(ax, "Validation scores", "")
    ax.set_ylim(0, 1)


def _classes(ax: Axes, records: Records, colors: dict[str, str]) -> None:
    for i, (name, color) in enumerate(colors.items()):
        points = [
            (r["epoch"], r["val"]["per_class"][name]["dice"])
            for r in records
            if r["val"].get("per_class", {}).get(name, {}).get("dice") is not None
        ]
        if points:
            (line,) = ax.plot(
                *zip(*points, strict=True),
                f"{MARKERS[i % len(MARKERS)]}-",
                color=color,
                mec=INK,
                mew=0.6,
                label=_plain(name),
                gid=f"class-{i + 1}",
            )
            line.set_path_effects([Stroke(linewidth=2.6, foreground=INK), Normal()])
    _finish(ax, "Validation Dice per class", "")
    ax.set_ylim(0, 1)


def _finish(ax: Axes, title: str, ylabel: str) -> None:
    ax.set_title(title, pad=10)
    ax.set_xlabel("epoch")
    ax.set_ylabel(ylabel)
    ax.margins(x=0.03)
    ax.tick_params(length=0)
    handles, names = ax.get_legend_handles_labels()
    if handles:
        columns = 4 if sum(map(len, names)) < 30 else 2
        ax.legend(
            handles,
            names,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.17),
            ncol=columns,
            columnspacing=1.2,
            handlelength=1.6,
        )


def confusion_matrix(confusion: Integer[np.ndarray, "k m"], classes: Sequence[str]) -> Figure:
    """Share of each true class's pixels per predicted class; rows sum to 100 %."""
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    columns = list(classes)
    if confusion[:, -1].any():  # masks of other tools may hold pixels of no class
        columns.append("none")
    shares = shares[:, : len(columns)]
    with style(), mpl.rc_context({"axes.grid": False}):
        figure = Figure(figsize=(1.9 + 0.85 * len(columns), 1.3 + 0.7 * len(classes)), layout="constrained")
        ax = figure.subplots()
        ax.pcolormesh(shares[::-1], cmap=SHADES, vmin=0, vmax=1, edgecolors="white", linewidth=2)
        for row, column in np.ndindex(shares.shape):
            share = shares[row, column]
            ax.text(
                column + 0.5,
                len(classes) - row - 0.5,
                f"{100 * share:.1f}",
                ha="center",
                va="center",
                color="white" if share > 0.6 else INK,
                gid=f"share-{row + 1}-{column + 1}",
            )
        ax.set_xticks(np.arange(len(columns)) + 0.5, [_plain(c) for c in columns], rotation=30, ha="right")
        ax.set_yticks(np.arange(len(classes)) + 0.5, [_plain(c) for c in classes[::-1]])
        ax.set(xlabel="predicted class", ylabel="true class")
        ax.set_title("Pixels of each true class (%)", pad=8)
        ax.tick_params(length=0, labelcolor=INK)
        ax.spines[:].set_visible(False)
    return figure


def qualitative(examples: Sequence[Example], colors: dict[str, str]) -> Figure:
    """Rows of image, ground truth and prediction above a legend, like the paper's figures 2 and 3."""
    cell, aspect = 2.2, max(e.image.shape[0] / e.image.shape[1] for e in examples)
    with style(), mpl.rc_context({"axes.grid": False}):
        height = len(examples) * (cell * aspect + 0.08) + 0.75
        tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
        figure = Figure(figsize=(3 * cell + 0.55, height), layout=tight)
        axes = figure.subplots(len(examples), 3, squeeze=False)
        for row, example in zip(axes, examples, strict=True):
            for ax, picture in zip(row, (example.image, example.truth, example.prediction), strict=True):
                ax.imshow(picture, interpolation="none")
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
            row[0].set_ylabel(f"{example.rank}\nDice {example.score.macro_dice:.3f}")
        for ax, title in zip(axes[0], ("Image", "Ground truth", "Prediction"), strict=True):
            ax.set_title(title, fontsize=9, fontweight="normal", loc="center")
        swatches = [Patch(fc=color, ec=INK, lw=0.5, label=_plain(name)) for name, color in colors.items()]
        figure.legend(handles=swatches, loc="outside lower center", ncol=min(len(swatches), 5))
    return figure


def one_per_rank(examples: Sequence[Example]) -> list[Example]:
    """The first best, the first median and the very worst tile: as many as a column of a paper holds."""
    chosen = {example.rank: example for example in reversed(examples)}
    if examples:
        chosen[examples[-1].rank] = examples[-1]
    return [chosen[rank] for rank in ("best", "median", "worst") if rank in chosen]


def save(figure: Figure, file: Path) -> None:
    """Writes ``<file>.png`` (300 dots per inch) and ``<file>.svg``."""
    with style():
        figure.savefig(file.with_suffix(".png"), dpi=300)
        figure.savefig(file.with_suffix(".svg"), dpi=300, metadata={"Date": None})


def inline_svg(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` element for a page, its ids prefixed by `name` so that none occurs twice."""
    file = io.StringIO()
    with style():
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img">{rest}'


def _plain(name: str) -> str:
    """A class name without Matplotlib's formulas, and shown even where it starts with an underscore."""
    return re.sub(r"^_", "\u200b_", name).replace("$", r"\$")
