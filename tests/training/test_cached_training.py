"""Training from cached features: the cache changes how often the encoders run, and nothing else."""

import signal

import jax
import numpy as np
import pytest

from sampath_jax.data.pipeline import training_batches
from sampath_jax.data.views import FixedViews
from sampath_jax.distributed import Placement, make_mesh
from sampath_jax.training import feed as feed_module
from sampath_jax.training import run as run_module
from sampath_jax.training import step as step_module
from sampath_jax.training.feature_identity import identity_of_tiles, identity_of_views
from sampath_jax.training.loop import train
from sampath_jax.training.step import make_feature_step, make_view_encoder
from sampath_jax.training.sweep import sweep
from sampath_jax.workdir import WorkDir, load_head
from tests.training import tiny
from tests.training.experiments import TOTAL, small_config
from tests.training.test_loop import Died, die, metrics, saved, stop_after

pytestmark = pytest.mark.optim

#: Few views, so that some come twice in three epochs.
CACHED = ("data.cache_features=True", "data.cache_crops=1", "augment.stain=0.1")
NOTHING_FITS = ("data.cache_memory_gb=0", "data.cache_disk_gb=0")
#: Room for 16 views of 6.9 kB beside the three tiles that validate; some 33 are drawn.
SOME_FIT = ("data.cache_memory_gb=0.00006", "data.cache_disk_gb=0.00008")
ON_DISK = ("data.cache_memory_gb=0",)


@pytest.fixture
def encoded(monkeypatch):
    """(tile, view) of every row that is encoded, in order."""
    seen = []
    encode = feed_module.EncodeRows.__call__

    def counting(self, batch, rows):
        seen.extend((int(batch["index"][row]), int(batch["view"][row])) for row in rows)
        assert all(batch["image"][row].any() for row in rows)
        return encode(self, batch, rows)

    monkeypatch.setattr(feed_module.EncodeRows, "__call__", counting)
    return seen


@pytest.fixture(scope="module")
def whole(tiles, tmp_path_factory):
    """A run whose features all fit into memory; its folder."""
    path = tmp_path_factory.mktemp("cached")
    assert train(small_config(tiles, *CACHED), path).step == TOTAL
    return path


def drawn(config):
    """(tile, view) of every row of the whole run, in order."""
    views, plan = FixedViews.from_config(config), training_batches(config).plan
    pairs = []
    for rows in map(plan.rows, range(TOTAL)):
        numbers = views.numbers(rows.epoch, rows.index)
        pairs += [(int(i), int(n)) for i, n in zip(rows.index[rows.valid], numbers[rows.valid], strict=True)]
    return pairs


def assert_same_end(path, whole):
    assert metrics(path) == metrics(whole)
    for ours, theirs in zip(saved(path)[0], saved(whole)[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_every_view_is_encoded_once_by_programs_that_are_traced_once(
    whole, tiles, tmp_path, encoded, monkeypatch
):
    traces = {"view_images": 0, "sampath_loss": 0}

    def count(name):
        real = getattr(step_module, name)

        def counting(*arguments):
            traces[name] += 1
            return real(*arguments)

        monkeypatch.setattr(step_module, name, counting)

    for name in traces:
        count(name)
    config = small_config(tiles, *CACHED)
    train(config, tmp_path / "run")
    assert encoded == list(dict.fromkeys(drawn(config)))
    assert len(encoded) < len(drawn(config)) == 36
    assert traces == {"view_images": 1, "sampath_loss": 1}
    assert_same_end(tmp_path / "run", whole)


def test_without_room_it_ends_bit_for_bit_the_same(whole, tiles, tmp_path, encoded, capsys):
    config = small_config(tiles, *CACHED, *NOTHING_FITS)
    train(config, tmp_path / "run")
    assert encoded == drawn(config)
    assert_same_end(tmp_path / "run", whole)
    assert "There is room for 0 of 108 views: the other 108 will be encoded" in " ".join(
        capsys.readouterr().out.split()
    )


def test_stopped_and_resumed_with_some_room_it_ends_bit_for_bit_the_same(
    whole, tiles, tmp_path, encoded, monkeypatch
):
    config = small_config(tiles, *CACHED, *SOME_FIT)
    stop_after(monkeypatch, 5)
    outcome = train(config, tmp_path / "run")
    assert (outcome.step, outcome.exit_status) == (5, 128 + signal.SIGINT)
    monkeypatch.undo()
    train(config, tmp_path / "run")
    assert_same_end(tmp_path / "run", whole)
    assert len(list((tmp_path / "run" / "cache").rglob("*.npy"))) > 0


def test_a_later_run_uses_the_files_unless_seed_or_crops_differ(whole, tiles, tmp_path, encoded, monkeypatch):
    shared = (*CACHED, *ON_DISK, f"data.cache_dir={tmp_path / 'cache'}")
    train(small_config(tiles, *shared), tmp_path / "first")
    encoded.clear()
    train(small_config(tiles, *shared), tmp_path / "again")
    assert encoded == []
    assert_same_end(tmp_path / "again", whole)

    def first_batch(self, batch, rows):
        raise Died(len(rows))

    monkeypatch.setattr(feed_module.EncodeRows, "__call__", first_batch)
    for other in ("data.seed=1", "data.cache_crops=2"):
        with pytest.raises(Died, match="4"):
            train(small_config(tiles, *shared, other), tmp_path / other)


def test_features_belong_to_weights_tiles_views_and_encoding(tiles, tmp_path):
    def identity(weights="w", *overrides, tiles=tiles):
        config = small_config(tiles, *overrides)
        return identity_of_views(weights, config, training_batches(config).source)

    copy = tmp_path / "tiles"
    copy.mkdir()
    for path in tiles.rglob("*.*"):
        target = copy / path.relative_to(tiles)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    before = identity(tiles=copy)
    assert identity(tiles=copy) == before
    image = next((copy / "img").iterdir())
    for path in (copy / "img").iterdir():
        path.write_bytes(image.read_bytes())
    others = [
        before,
        identity(tiles=copy),
        identity(),
        identity("other"),
        *(
            identity("w", override)
            for override in (
                "seed=1",
                "data.cache_crops=2",
                "augment.hue=0.2",
                "augment.enabled=False",
                "data.canvas=(48,64)",
                "model.input_size=(48,64)",
                "model.encoder_dtype=bfloat16",
                "model.attention=reference",
                "data.val_fold=1",
            )
        ),
    ]
    assert len(set(others)) == len(others)
    config = small_config(tiles)
    assert identity_of_tiles("w", config, training_batches(config).source) not in others


def test_validation_is_the_same_with_or_without(whole, tiles, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module.Run, "advance", die)
    with pytest.raises(Died):
        train(small_config(tiles), tmp_path / "plain")
    assert metrics(tmp_path / "plain")[0]["val"] == metrics(whole)[0]["val"]


def test_each_device_encodes_one_tile_at_a_time_so_features_are_the_same_on_all():
    experiment, batch = tiny.experiment(), tiny.batch(0)
    experiment.config.augment.enabled = True
    batch["view"] = np.arange(tiny.BATCH, dtype=np.int32) + 2
    results = []
    for data, model in ((1, 1), (2, 1), (1, 2)):
        experiment.config.mesh.data, experiment.config.mesh.model = data, model
        placement = Placement(make_mesh(experiment.config.mesh))
        encode = make_view_encoder(experiment.graphdef, experiment.head, experiment.config)
        rows = feed_module.EncodeRows(placement, encode, placement.put_frozen(experiment.frozen))
        results.append(rows(batch, [0, 3, 7]))
    one, two, split = results
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one, split, atol=1e-4)


@pytest.mark.parametrize(("augmented", "columns"), [(False, slice(None)), (True, slice(None, None, -1))])
def test_labels_are_those_of_the_view(augmented, columns):
    experiment, batch = tiny.experiment(), tiny.batch(0)
    batch |= {
        "features": np.zeros((tiny.BATCH, 4, 3, 144), np.float32),
        "view": np.full(tiny.BATCH, 4, np.int32),
    }  # 4: mirrored
    experiment.config.data.cache_features, experiment.config.augment.enabled = True, augmented
    features_of = make_feature_step(experiment.graphdef, experiment.config)
    done = jax.jit(lambda batch: features_of(None, None, batch))(batch)
    np.testing.assert_array_equal(done["label"], batch["label"][:, :, columns])
    np.testing.assert_array_equal(done["valid"], batch["valid"])


def test_heads_of_a_sweep_share_the_cached_features(whole, tiles, tmp_path, encoded):
    config = small_config(tiles, *CACHED)
    outcome = sweep(config, ["--sweep.loss.alpha=0.25,0.75"], tmp_path / "sweep")
    assert outcome.exit_status == 0
    assert len(encoded) == len(set(encoded))
    ours = tmp_path / "sweep" / "alpha=0.25"
    _, head, _ = load_head(WorkDir.open(ours), "last")
    _, alone, _ = load_head(WorkDir.open(whole), "last")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), head, alone)
    for mine, theirs in zip(metrics(ours), metrics(whole), strict=True):
        assert mine["train"] == pytest.approx(theirs["train"], rel=1e-4)
