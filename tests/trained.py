"""A tiny data set and a work directory with an untrained model for it, for tests of commands."""

import functools
import tempfile
from pathlib import Path

import cv2
import numpy as np

from sampath_jax.config import base_config
from sampath_jax.models.freezing import split_head
from sampath_jax.training.checkpoints import Checkpoints
from sampath_jax.weights import build_model, frozen_fingerprint
from sampath_jax.workdir import WorkDir

CANVAS = (48, 64)
#: Raw values are far from labels 0..2, so that a shifted id shows.
CLASSES = (
    {"name": "gland", "values": (7, 8), "color": "#d55e00"},
    {"name": "stroma", "values": (3,), "color": "#0072b2"},
)
IGNORED = (255,)


def write_tiles(root: Path, sizes: dict[str, tuple[int, int]]) -> Path:
    """Tiles in the published layout: the first trains, the second validates, all others test."""
    rng = np.random.default_rng(0)
    for folder in ("img", "mask"):
        (root / folder).mkdir(parents=True)
    for name, size in sizes.items():
        coarse = rng.integers(0, 256, (3, 4, 3)).astype(np.uint8)
        image = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
        raw = np.where(image[..., 0] > image[..., 1], 7, 3).astype(np.uint8)
        raw[: size[0] // 4] = 255
        cv2.imwrite(str(root / "img" / f"{name}.png"), image[..., ::-1])
        cv2.imwrite(str(root / "mask" / f"{name}.png"), raw)
    folds = [1, 0, *[-1] * (len(sizes) - 2)]
    lines = ["img_id,fold", *(f"{name},{fold}" for name, fold in zip(sizes, folds, strict=True))]
    (root / "cv.csv").write_text("\n".join(lines) + "\n")
    return root


#: Two tiles of slide A, one of B; the last one has a size of its own.
TILES = {
    "train": CANVAS,
    "val": CANVAS,
    "TCGA-AA-0001-DX1_0": CANVAS,
    "TCGA-AA-0001-DX1_1": CANVAS,
    "TCGA-AA-0002-DX1_0": (40, 80),
}


@functools.cache
def workdir() -> Path:
    """The work directory; its data set is in `data` beside it. Made once; tests must not change it."""
    folder = Path(tempfile.mkdtemp(prefix="sampath-jax-test-"))
    config = base_config()
    config.name = "tiny"
    config.data.root = str(write_tiles(folder / "data", TILES))
    config.data.canvas, config.data.classes, config.data.ignored = CANVAS, CLASSES, IGNORED
    config.data.workers = 0
    config.model.encoders, config.model.hipt, config.model.input_size = ("hipt",), "tiny", (32, 48)
    config.model.sam, config.model.attention = "tiny", "reference"
    config.weights.sam, config.weights.hipt = "random", "random"
    config.eval.batch_size = 2
    made = WorkDir.create(folder / "run", config)
    model = build_model(config, base=made.path)
    _, head, _ = split_head(model)
    with Checkpoints(made.checkpoints, {}) as checkpoints:
        checkpoints.save(5, head, None, {"step": 5, "frozen": frozen_fingerprint(model)})
    return made.path
