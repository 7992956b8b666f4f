"""Batches: every tile once per epoch, the same whatever workers and processes, from any position on."""

import itertools
import multiprocessing
import os
import signal

import numpy as np
import pytest

from sampath_jax.data import pipeline
from sampath_jax.data.pipeline import BatchPlan, evaluation_batches, steps_per_epoch, training_batches
from sampath_jax.errors import InputError
from tests.data import made
from tests.shared import SHARED, needs_shared


@pytest.fixture
def root(tmp_path):
    return made.published(tmp_path)


def take(batches, count):
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_batch_is_as_the_contract_says(root):
    batch = next(training_batches(made.config(root)))
    types = {name: (array.dtype.name, array.shape) for name, array in batch.items()}
    assert types == {
        "image": ("uint8", (4, 24, 40, 3)),
        "label": ("uint8", (4, 24, 40)),
        "valid": ("bool", (4,)),
        "index": ("int32", (4,)),
        "epoch": ("int32", (4,)),
    }


def test_index_names_the_tile(root):
    """Tile number n of the data set has red n, and the training tiles are b to h, numbers 1 to 7."""
    for batch in take(training_batches(made.config(root)), 4):
        rows = batch["valid"]
        np.testing.assert_array_equal(batch["image"][rows, 5, 5, 0], batch["index"][rows] + 1)
        np.testing.assert_array_equal(batch["label"][rows, 0], 0)  # raw 0 is ignored
        np.testing.assert_array_equal(batch["label"][rows, 1:, :20], 1)
        np.testing.assert_array_equal(batch["label"][rows, 1:, 20:], 2)


def test_every_epoch_holds_each_tile_once_in_its_own_order(root):
    config = made.config(root)  # 7 tiles in batches of 4
    assert steps_per_epoch(config, 7) == 2
    batches = take(training_batches(config), 6)
    epochs = [[i for b in batches for i in b["index"][b["valid"] & (b["epoch"] == e)]] for e in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(7))] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_short_batch_is_padded_with_unlabelled_zeros(root):
    batch = take(training_batches(made.config(root)), 2)[1]
    assert batch["valid"].tolist() == [True, True, True, False]
    assert not batch["image"][3].any()
    assert not batch["label"][3].any()
    assert batch["index"][3] == 0
    assert batch["epoch"].tolist() == [0] * 4


def test_seed_decides_the_order(root):
    def order(seed):
        return [b["index"].tolist() for b in take(training_batches(made.config(root, seed=seed)), 4)]

    assert order(5) == order(5)
    assert order(5) != order(6)


def test_order_is_pinned():
    """A run must go on with the same order after an update of numpy: the permutations are part of a seed."""
    assert BatchPlan(7, 4, seed=0).order(0).tolist() == [2, 4, 3, 6, 5, 0, 1]
    assert BatchPlan(7, 4, seed=0).order(1).tolist() == [1, 3, 6, 0, 4, 2, 5]


def test_evaluation_is_in_order_and_ends(root):
    batches = take(evaluation_batches(made.config(root, eval__batch_size=3), "train"), 9)
    assert [b["index"][b["valid"]].tolist() for b in batches] == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_each_batch(root, processes):
    whole = take(training_batches(made.config(root)), 5)
    shares = [
        take(training_batches(made.config(root), process_index=p, process_count=processes), 5)
        for p in range(processes)
    ]
    together = [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*shares, strict=True)
    ]
    assert_same(together, whole)


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("n_tiles", [1, 5, 8, 13])
def test_shards_cover_each_epoch_exactly_once(processes, n_tiles):
    plans = [BatchPlan(n_tiles, 4, 3, p, processes) for p in range(processes)]
    for epoch in range(3):
        steps = range(epoch * plans[0].batches_per_epoch, (epoch + 1) * plans[0].batches_per_epoch)
        rows = [plan.rows(step) for plan in plans for step in steps]
        assert sorted(i for row in rows for i in row.index[row.valid]) == list(range(n_tiles))
        assert {row.epoch for row in rows} == {epoch}


@pytest.mark.parametrize("stop", range(6))
def test_restored_iterator_gives_the_same_rest(root, stop):
    whole = take(training_batches(made.config(root)), 6)
    first = training_batches(made.config(root))
    begun = list(itertools.islice(first, stop))
    state = first.get_state()
    first.close()
    second = training_batches(made.config(root))
    second.set_state(state)
    assert_same([*begun, *take(second, 6 - stop)], whole)


def test_iterator_can_be_set_back(root):
    batches = training_batches(made.config(root))
    state = batches.get_state()
    once = [next(batches) for _ in range(3)]
    batches.set_state(state)
    assert_same(take(batches, 3), once)


@pytest.mark.parametrize(("workers", "restored"), [(1, 1), (4, 0)])
def test_workers_change_nothing(root, workers, restored):
    """The batches, and those after stopping with some workers and going on with others."""
    whole = take(training_batches(made.config(root)), 7)
    first = training_batches(made.config(root, data__workers=workers))
    begun = [next(first) for _ in range(4)]  # one from each worker
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGINT)  # Ctrl-C reaches all processes of a terminal
    state = first.get_state()
    assert_same(begun + take(first, 3), whole)
    second = training_batches(made.config(root, data__workers=restored))
    second.set_state(state)
    assert_same(begun + take(second, 3), whole)
    assert type(begun[0]["image"]) is np.ndarray
    assert not multiprocessing.active_children()


def test_worker_names_the_file_that_broke(root):
    batches = training_batches(made.config(root, data__workers=1))
    made.write(root / "mask" / "b.png", np.full((24, 40), 77, np.uint8))
    with pytest.raises(InputError, match=r"b\.png holds value 77"):
        take(batches, 2)


def test_file_that_vanishes_is_named(root):
    batches = training_batches(made.config(root))
    (root / "img" / "c.png").unlink()
    with pytest.raises(InputError, match=r"c\.png cannot be read"):
        take(batches, 2)


def test_image_and_mask_of_different_size(root):
    made.write(root / "mask" / "a.png", made.mask((24, 41)))
    with pytest.raises(InputError, match=r"a\.png has \(24, 40\) pixels"):
        take(evaluation_batches(made.config(root), "val"), 1)


def test_batch_that_processes_cannot_share(root):
    with pytest.raises(InputError, match="batch of 4 tiles cannot be divided among 3 processes"):
        training_batches(made.config(root), process_count=3)


def test_empty_split(tmp_path):
    root = made.published(tmp_path, {"a": 0, "b": 1})
    with pytest.raises(InputError, match=r"the test split .* is empty"):
        evaluation_batches(made.config(root), "test")


def test_too_little_shared_memory(root, monkeypatch):
    monkeypatch.setattr(pipeline, "BATCHES_PER_WORKER", 10**9)
    with pytest.raises(InputError, match=r"shared memory.*workers=0"):
        next(training_batches(made.config(root, data__workers=1)))


@needs_shared
def test_real_tiles_of_many_sizes_reach_the_canvas():
    config = made.config(SHARED / "data" / "nuclei", data__canvas=(64, 96), optim__batch_size=7)
    config.data.classes = ({"name": "background", "values": (0,)}, {"name": "nucleus", "values": (1,)})
    config.data.ignored = ()
    batch = take(training_batches(config), 1)[0]
    assert batch["image"].shape == (7, 64, 96, 3)
    assert np.unique(batch["label"]).tolist() == [1, 2]
    assert batch["image"].reshape(7, -1).std(1).min() > 5  # tissue, in every tile
