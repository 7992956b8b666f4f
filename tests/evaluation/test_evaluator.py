"""The evaluator on tiny models: neither padding, batch size, device count nor cache changes a count."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampath_jax.config import base_config
from sampath_jax.distributed import Placement, make_mesh
from sampath_jax.evaluation import evaluator as evaluator_module
from sampath_jax.evaluation.confusion import mask_confusion
from sampath_jax.evaluation.evaluator import Evaluator
from sampath_jax.models.freezing import split_head
from sampath_jax.models.sam_path import class_map
from sampath_jax.weights import build_model

CANVAS = (48, 64)
TILES = 5
NAMES = ("gland", "stroma")


class Tiles:
    """What `data.pipeline.evaluation_batches` gives, from arrays."""

    def __init__(self, images, labels, batch_size):
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.source = type("Source", (), {"tiles": [type("Tile", (), {"id": f"t{i}"}) for i in range(TILES)]})

    def __iter__(self):
        for start in range(0, TILES, self.batch_size):
            index = np.arange(start, start + self.batch_size)
            valid = index < TILES
            index = np.where(valid, index, 0).astype(np.int32)
            keep = valid[:, None, None]
            yield {
                "image": self.images[index] * keep[..., None],
                "label": self.labels[index] * keep,
                "valid": valid,
                "index": index,
                "epoch": np.zeros_like(index),
            }


def config_of(batch_size=2, devices=1):
    config = base_config()
    config.data.canvas = CANVAS
    config.data.classes = tuple({"name": name, "values": (i,)} for i, name in enumerate(NAMES))
    config.model.sam, config.model.hipt, config.model.input_size = "tiny", "tiny", (32, 48)
    config.model.encoders, config.model.attention = ("hipt",), "reference"
    config.weights.sam, config.weights.hipt = "random", "random"
    config.eval.batch_size = batch_size
    config.mesh.data = devices
    return config


@pytest.fixture(scope="module")
def model():
    return build_model(config_of())


@pytest.fixture(scope="module")
def tiles():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (TILES, *CANVAS, 3)).astype(np.uint8)
    labels = rng.integers(0, len(NAMES) + 1, (TILES, *CANVAS)).astype(np.uint8)
    return images, labels


@functools.cache  # an evaluator compiles when it is first used
def evaluator_of(graphdef, batch_size, devices):
    config = config_of(batch_size, devices)
    placement = Placement(make_mesh(config.mesh))
    return placement, Evaluator(graphdef, config, placement)


def evaluate(model, tiles, batch_size=2, devices=1, **cache):
    graphdef, head, frozen = split_head(model)
    placement, evaluator = evaluator_of(graphdef, batch_size, devices)
    batches = Tiles(*tiles, batch_size)
    (counts,) = evaluator.evaluate([placement.put(head)], placement.put_frozen(frozen), batches, **cache)
    return counts


@pytest.fixture(scope="module")
def expected(model, tiles):
    """Tile by tile, without padding or mesh."""
    images, labels = tiles
    predict = jax.jit(lambda model, image: class_map(model(image[None])[0], CANVAS)[0])
    predicted = [np.asarray(predict(model, jnp.asarray(image))) for image in images]
    return np.stack([mask_confusion(*pair, len(NAMES)) for pair in zip(labels, predicted, strict=True)])


@pytest.mark.parametrize(("batch_size", "devices"), [(1, 1), (2, 1), (2, 2), (6, 2)])
def test_batch_size_padding_and_devices_change_nothing(model, tiles, expected, batch_size, devices):
    counts = evaluate(model, tiles, batch_size, devices)
    assert counts.shape == (TILES, 3, 3)
    np.testing.assert_array_equal(counts.sum((1, 2)), CANVAS[0] * CANVAS[1])
    # Another batch size may round a tie the other way: at most one pixel of 3072 per tile.
    assert np.abs(counts - expected).sum((1, 2)).max() <= 2


def test_heads_that_share_a_pass_are_scored_each_for_itself(model, tiles):
    graphdef, head, frozen = split_head(model)
    placement, evaluator = evaluator_of(graphdef, 2, 1)
    heads = [placement.put(head), placement.put(jax.tree.map(lambda leaf: leaf * 1.1, head))]
    frozen, batches, store = placement.put_frozen(frozen), Tiles(*tiles, 2), Store()
    together = evaluator.evaluate(heads, frozen, batches, store)
    assert together.shape == (2, TILES, 3, 3)
    assert (together[0] != together[1]).any()
    assert store.hits == 0  # the features are computed once, for both
    for counts, one in zip(together, heads, strict=True):
        np.testing.assert_array_equal(counts, evaluator.evaluate([one], frozen, batches)[0])


def test_compiles_once_for_a_short_last_batch(model, tiles, monkeypatch):
    traces = []
    real = evaluator_module.tile_confusions
    monkeypatch.setattr(evaluator_module, "tile_confusions", lambda *a: traces.append(1) or real(*a))
    evaluator_of.cache_clear()
    evaluate(model, tiles, batch_size=2)
    assert len(traces) == 1


def test_time_is_taken_of_batches_that_compile_nothing(model, tiles, expected):
    graphdef, head, frozen = split_head(model)
    placement, evaluator = evaluator_of(graphdef, 2, 1)
    parameters = placement.put(head), placement.put_frozen(frozen)
    done = list(evaluator.run(*parameters, Tiles(*tiles, 2), timed=1))
    assert [batch.seconds is None for batch in done] == [True, False, True]
    again = evaluator.timed(*parameters, done[2].batch)
    assert min(done[1].seconds, again.seconds) > 0
    np.testing.assert_array_equal(again.labels, done[2].labels)


class Store(dict):
    """A feature store that counts its uses."""

    hits = 0

    def get(self, key):
        self.hits += key in self
        return super().get(key)

    def put(self, key, array):
        self[key] = array


@pytest.mark.parametrize("devices", [1, 2])
def test_cached_features_give_the_same_counts(model, tiles, devices):
    store = Store()
    first = evaluate(model, tiles, devices=devices, cache=store)
    assert sorted(store) == [f"whole/t{i}" for i in range(TILES)]
    assert store.hits == 0
    second = evaluate(model, tiles, devices=devices, cache=store)
    assert store.hits == TILES
    np.testing.assert_array_equal(first, second)


def test_cached_features_are_used(model, tiles):
    store = Store()
    plain = evaluate(model, tiles, cache=store)
    store["whole/t3"] = store["whole/t0"]
    other = evaluate(model, tiles, cache=store)
    np.testing.assert_array_equal(other[:3], plain[:3])
    assert (other[3] != plain[3]).any()


def test_a_batch_that_the_devices_do_not_divide_gives_the_same_counts(model, tiles):
    counts = evaluate(model, tiles, batch_size=3, devices=2)
    np.testing.assert_array_equal(counts, evaluate(model, tiles))
