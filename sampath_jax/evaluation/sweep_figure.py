"""The table and the plot of a sweep, in the style of the paper's figure 4."""

import csv
import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from sampath_jax import console
from sampath_jax.errors import InputError
from sampath_jax.training.sweep_settings import read_settings
from sampath_jax.workdir import WorkDir, explain_os_errors, write_atomically

#: What the horizontal axes are called.
AXIS_NAMES = {"loss.alpha": r"$\alpha$", "loss.beta": r"$\beta$", "seed": "seed", "data.val_fold": "fold"}


def write_sweep(path: Path) -> None:
    """Prints the table of a finished sweep, and writes ``sweep.csv``, ``sweep.png`` and ``sweep.svg``.

    Raises:
        InputError: no sweep, or the disk refuses.
    """
    keys, rows = read_sweep(path)
    columns = (*keys, "val_dice", "val_iou", "step")
    cells = [tuple(row[c] for c in columns) for row in rows]
    console.table("Sweep (best checkpoint of each head, validation split)", columns, cells)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [("head", *columns), *((r["name"], *c) for r, c in zip(rows, cells, strict=True))]
    )
    with explain_os_errors(path):
        write_atomically(path / "sweep.csv", text.getvalue())
        _plot(keys, rows, path)


def read_sweep(path: Path) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """The swept keys, and per head its name, settings, and the scores of its best evaluation."""
    heads = read_settings(path)
    keys = tuple(key for key in heads[0] if key != "name")
    return keys, [head | _best(path / head["name"]) for head in heads]


def _best(path: Path) -> dict[str, Any]:
    lines = [line for line in WorkDir.open(path).read_metrics() if line["step"] > 0]
    scored = [line for line in lines if line["val"]["macro_dice"] is not None]
    if not scored:
        raise InputError(f"{path} has no evaluation yet: let the sweep finish")
    best = max(scored, key=lambda line: line["val"]["macro_dice"])
    return {
        "val_dice": best["val"]["macro_dice"],
        "val_iou": best["val"]["macro_iou"],
        "step": best["step"],
    }


def _plot(keys: tuple[str, ...], rows: list[dict[str, Any]], path: Path) -> None:
    """One panel per swept key: every head a dot, the mean over the other keys a line."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        1, len(keys), figsize=(4.2 * len(keys), 3.2), squeeze=False, layout="constrained"
    )
    for axis, key in zip(axes[0], keys, strict=True):
        values = sorted({row[key] for row in rows})
        for score, color, marker in (("val_dice", "#0072b2", "o"), ("val_iou", "#d55e00", "s")):
            means = [np.mean([row[score] for row in rows if row[key] == value]) for value in values]
            axis.plot(
                values, means, color=color, marker=marker, label="Dice" if score == "val_dice" else "IoU"
            )
            if len(keys) > 1:
                axis.scatter(
                    [row[key] for row in rows], [row[score] for row in rows], s=9, color=color, alpha=0.4
                )
        axis.set_xlabel(AXIS_NAMES[key])
        axis.set_xticks(values)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes[0][0].set_ylabel("validation score (macro)")
    axes[0][0].legend(frameon=False)
    for suffix in ("png", "svg"):
        figure.savefig(path / f"sweep.{suffix}", dpi=200)
    plt.close(figure)
