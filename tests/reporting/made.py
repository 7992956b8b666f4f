"""A work directory with metrics and results of known numbers, without any model run."""

import json
from pathlib import Path

import cv2
import numpy as np

from sampath_jax.config import base_config
from sampath_jax.evaluation.results import Results
from sampath_jax.workdir import WorkDir

SIZE = (40, 64)
#: Names that break a page that does not escape them.
NAMES = ("<b>gland</b>", 'stroma & "fat"', "$x_1$")
COLORS = ("#009e73", "#d55e00", "#0072b2")
RAW = (5, 9, 2)
TILES = tuple(f"t{i}" for i in range(7))


def tiny_config(root: Path, **baseline):
    c = base_config()
    c.name = "<i>tiny"
    c.data.root = str(root)
    c.data.canvas = SIZE
    c.data.classes = tuple(
        {"name": name, "values": (value,), "color": color}
        for name, value, color in zip(NAMES, RAW, COLORS, strict=True)
    )
    c.data.ignored = (255,)
    c.model.encoders, c.model.sam, c.model.hipt = ("hipt",), "tiny", "tiny"
    c.model.input_size = (32, 48)
    c.weights.sam, c.weights.hipt = "random", "random"
    for key, value in baseline.items():
        c.baseline[key] = value
    return c


def write_data(root: Path) -> None:
    """All tiles test; each mask is three stripes below an unlabelled one."""
    mask = np.full(SIZE, 255, np.uint8)
    for i, value in enumerate(RAW):
        mask[10 * (i + 1) : 10 * (i + 2)] = value
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    for folder, content in (("img", image), ("mask", mask)):
        (root / folder).mkdir(parents=True)
        for name in TILES:
            cv2.imwrite(str(root / folder / f"{name}.png"), content)
    (root / "cv.csv").write_text("\n".join(["img_id,fold", *(f"{name},-1" for name in TILES)]) + "\n")


def confusions() -> np.ndarray:
    """Tile i has 10 i errors of 100 pixels in each class."""
    counts = np.zeros((len(TILES), 4, 4), np.int64)
    for i in range(len(TILES)):
        for c in (1, 2, 3):
            counts[i, c, c] = 100 - 10 * i
            counts[i, c, c % 3 + 1] = 10 * i
    return counts


def metrics() -> list[dict]:
    """Three evaluations; the second is the best."""
    records = []
    for step, dice in ((0, 0.125), (6, 0.875), (12, 0.75)):
        scores = {"dice": dice, "iou": dice / (2 - dice), "precision": dice, "recall": dice, "pixels": 8}
        records.append(
            {
                "step": step,
                "epoch": step / 6,
                "time": f"2026-01-01T00:{step:02d}:00+00:00",
                "train": {"loss": 0.5, "dice": 0.25, "focal": 0.125, "iou": 0.0625} if step else {},
                "val": {
                    "macro_dice": dice,
                    "macro_iou": dice / (2 - dice),
                    "per_class": {name: scores for name in NAMES},
                },
            }
        )
    return records


def make_run(folder: Path, config=None, *, evaluated: bool = True, trained: bool = True) -> Path:
    """``folder/run`` with its data set in ``folder/data``."""
    write_data(folder / "data")
    run = WorkDir.create(folder / "run", config or tiny_config(folder / "data"))
    if trained:
        for record in metrics():
            run.append_metrics(record)
    if evaluated:
        write_results(run.path)
    return run.path


def write_results(run: Path, split: str = "test", **source) -> None:
    out = run / "evaluation" / split
    slides = tuple(f"slide {i // 2}" for i in range(len(TILES)))
    given = {"split": split, "step": 6, "checkpoint": "best", "size": list(SIZE)}
    given |= {"seconds_per_tile": 0.25, "device": "2 x cpu", "seconds": 3.5} | source
    Results(NAMES, TILES, slides, confusions(), given).write(out)
    (out / "predictions").mkdir(exist_ok=True)
    for name in TILES:
        cv2.imwrite(str(out / "predictions" / f"{name}.png"), np.full(SIZE, RAW[0], np.uint8))


def edit_scores(run: Path, change) -> None:
    file = run / "evaluation" / "test" / "scores.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
