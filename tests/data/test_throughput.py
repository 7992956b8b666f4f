"""The pipeline adds no needless work to the decoder's, and its memory does not grow: on 1024x1024 JPEG tiles.

How long it takes beside the decoder alone is for the benchmark: ``--subjects data``.
"""

import itertools
import os
import tracemalloc
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from sampath_jax.data.pipeline import training_batches
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


def test_each_file_is_decoded_once_and_nothing_resized(config, monkeypatch):
    calls = Counter()
    for name in ("imdecode", "resize"):
        monkeypatch.setattr(cv2, name, _counted(getattr(cv2, name), name, calls))
    training_batches(config).load(0)
    assert calls == {"imdecode": 2 * TILES}


def _counted(function, name, calls):
    def call(*args, **kwargs):
        calls[name] += 1
        return function(*args, **kwargs)

    return call


def test_loading_holds_one_decoded_tile_beside_the_batch(config):
    """A further copy of a batch or of a tile would cost the pipeline time as well."""
    load = training_batches(config).load
    tile_bytes = load.batch_bytes / TILES
    load(0)  # what is cached from now on does not count
    tracemalloc.start()
    try:
        load(1)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert load.batch_bytes < most < load.batch_bytes + 1.5 * tile_bytes


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
