"""The pipeline costs what the decoder costs, and its memory does not grow: on real 1024x1024 JPEG tiles."""

import itertools
import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from sampath_jax.data.decode import decode_image, decode_mask
from sampath_jax.data.pipeline import evaluation_batches, training_batches
from sampath_jax.data.source import open_source
from tests.data import made

TILES = 12


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Tiles with the texture of noise at several scales, which JPEG finds about as hard as tissue."""
    root = tmp_path_factory.mktemp("tiles")
    rng = np.random.default_rng(0)
    folds = {f"tile{n:02d}": 1 if n else 0 for n in range(TILES + 1)}
    for name in folds:
        layers = [rng.integers(0, 64, (side, side, 3), np.uint8) for side in (16, 64, 256, 512)]
        tile = sum(
            cv2.resize(layer, (1024, 1024), interpolation=cv2.INTER_CUBIC) // 2 + 16 for layer in layers
        )
        made.write(root / "img" / f"{name}.jpg", tile.astype(np.uint8))
        blobs = cv2.resize(rng.integers(0, 2, (24, 24), np.uint8), (1024, 1024))
        made.write(root / "mask" / f"{name}.png", np.where(blobs, 7, 3).astype(np.uint8))
    made.write_folds(root / "cv.csv", folds)
    return made.config(root, data__canvas=(1024, 1024), optim__batch_size=TILES)


def test_pipeline_costs_little_more_than_the_decoder(config):
    """Processor time, which other load disturbs little; both alternate, and the best of each counts."""
    source = open_source(config, "train")
    batches = training_batches(config)
    next(batches)
    decoding, pipeline = [], []
    for _ in range(3):
        start = time.process_time()
        for i in range(TILES):
            image, mask = source.encoded(i)
            decode_image(image, "")
            decode_mask(mask, "")
        decoding.append(time.process_time() - start)
        # A fresh iterator each time: what an earlier one has loaded ahead would count for nothing.
        batches = evaluation_batches(config, "train")
        start = time.process_time()
        assert sum(batch["valid"].sum() for batch in batches) == TILES
        pipeline.append(time.process_time() - start)
    assert min(pipeline) < 1.5 * min(decoding)


def resident() -> float:
    """Megabytes of memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="reads the memory of a process as Linux tells it"
)
def test_memory_is_flat_over_ten_epochs(config):
    batches = training_batches(config)  # one batch of 48 MB per epoch
    used = []
    for _ in itertools.islice(batches, 3 + 10):
        used.append(resident())
    batches.close()
    assert max(used[3:]) - max(used[:3]) < 100
