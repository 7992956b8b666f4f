"""Ensembles against their heads, predicted one by one."""

import copy
import json
import shutil

import cv2
import jax
import numpy as np
import pytest

import sampath_jax
from sampath_jax import evaluate, predict
from sampath_jax.ensemble import load_ensemble, member_paths
from sampath_jax.errors import InputError
from sampath_jax.models.sam_path import SamPath
from sampath_jax.training.checkpoints import Checkpoints
from sampath_jax.workdir import WorkDir, load_head
from tests.trained import CANVAS, TILES, workdir

NAMES = ("val_fold=0", "val_fold=1", "val_fold=2")


def write_run(path, seed, frozen="", **config):
    """A run like `workdir()` with a head of its own; `config` sets dotted keys."""
    path.mkdir(parents=True)
    content = json.loads((workdir() / "config.json").read_text())
    for key, value in config.items():
        section, leaf = key.split("__")
        content["config"][section][leaf] = value
    (path / "config.json").write_text(json.dumps(content))
    step, head, meta = load_head(WorkDir.open(workdir()))
    rng = np.random.default_rng(seed)
    head = jax.tree.map(lambda leaf: leaf + 0.05 * rng.normal(size=leaf.shape).astype(np.float32), head)
    with Checkpoints(path / "checkpoints", {}) as checkpoints:
        checkpoints.save(step, head, None, meta | {"frozen": frozen or meta["frozen"]})
    return path


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """A sweep of three heads."""
    path = tmp_path_factory.mktemp("ensemble") / "folds"
    for i, name in enumerate(NAMES):
        write_run(path / name, i, data__val_fold=i)
    shutil.copy(workdir() / "config.json", path)
    heads = [{"name": name, "data.val_fold": i} for i, name in enumerate(NAMES)]
    (path / "sweep.json").write_text(json.dumps(heads))
    return path


@pytest.fixture(scope="module")
def encoded():
    """Grows by one entry whenever a program with the encoders is traced."""
    calls, encode = [], SamPath.encode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SamPath, "encode", lambda self, images: calls.append(1) or encode(self, images))
        yield calls


@pytest.fixture(scope="module")
def together(folds, encoded):
    return sampath_jax.load(folds)


@pytest.fixture(scope="module")
def alone(folds):
    """Each head's own segmenter; they share the first one's compiled program."""
    first = sampath_jax.load(folds / NAMES[0])
    others = [copy.copy(first) for _ in NAMES[1:]]
    for other, name in zip(others, NAMES[1:], strict=True):
        other._heads = first._placement.put(load_ensemble(folds / name).heads)
    return [first, *others]


def picture(size, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("size", [CANVAS, (31, 44), (60, 80), (110, 150)])
def test_three_heads_are_the_mean_of_their_probabilities(together, alone, size):
    image = picture(size)
    mask, probabilities = together.predict(image)
    each = [segmenter.predict(image)[1] for segmenter in alone]
    np.testing.assert_allclose(probabilities, np.mean(each, axis=0), atol=1e-6)
    assert np.abs(each[0] - each[1]).max() > 1e-2, "the heads must differ, or this shows nothing"
    np.testing.assert_array_equal(mask, np.where(probabilities[..., 0] >= probabilities[..., 1], 7, 3))


def test_one_head_is_that_head_bit_for_bit(folds, alone):
    image = picture((60, 80))
    ensemble = sampath_jax.load([folds / NAMES[0]])
    np.testing.assert_array_equal(ensemble.predict(image)[1], alone[0].predict(image)[1])


def test_images_are_encoded_once_for_all_heads_and_sizes(folds, together, encoded):
    together.predict(picture(CANVAS))
    before = len(encoded)
    together.predict(picture((20, 30)))
    assert len(encoded) == before
    again = sampath_jax.load(folds)
    assert again.num_heads == 3
    again._predict.lower(
        again._heads, again._frozen, again._batch([]), np.ones((again._batch_size, 2), np.int32)
    )
    assert len(encoded) == before + 1


def test_a_sweep_stands_for_its_heads(folds):
    assert member_paths(folds) == tuple(folds / name for name in NAMES)
    assert member_paths([folds, workdir()]) == (*member_paths(folds), workdir())
    assert member_paths(str(workdir())) == (workdir(),)
    with pytest.raises(InputError, match="named twice"):
        member_paths([folds, folds / NAMES[1]])
    with pytest.raises(InputError, match="nothing to load"):
        member_paths([])


def test_runs_that_do_not_fit_together(folds, tmp_path):
    first = folds / NAMES[0]
    others = {
        "encoder": (write_run(tmp_path / "encoder", 0, frozen="f" * 64), "other frozen encoders"),
        "canvas": (write_run(tmp_path / "canvas", 0, data__canvas=[32, 32]), r"config\.data\.canvas: \(48"),
        "values": (write_run(tmp_path / "values", 0, data__ignored=[254]), r"config\.data\.ignored"),
        "model": (write_run(tmp_path / "model", 0, model__input_size=[48, 48]), r"config\.model\.input_size"),
    }
    for name, (path, says) in others.items():
        with pytest.raises(InputError, match=says) as error:
            load_ensemble([first, path])
        assert str(first) in str(error.value), name
        assert str(path) in str(error.value), name


def test_command_on_the_folder_of_a_sweep(folds, together, tmp_path, capsys):
    tile = picture((40, 60))
    cv2.imwrite(str(tmp_path / "tile.png"), tile[..., ::-1])
    files = ["--input", str(tmp_path / "tile.png"), "--output"]
    assert predict.main(["--workdir", str(folds), *files, str(tmp_path / "sweep")]) == 0
    assert "3 heads" in capsys.readouterr().out
    written = cv2.imread(str(tmp_path / "sweep" / "tile.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, together.predict(tile)[0])


def test_scores_of_the_test_split(folds, together, tmp_path):
    """The masks that are scored are those that the ensemble predicts."""
    swept = shutil.copytree(folds, tmp_path / "folds")
    assert evaluate.main(["--workdir", str(swept)]) == 0
    scores = json.loads((swept / "evaluation" / "test" / "scores.json").read_text())
    assert [path.rpartition("/")[2] for path in scores["source"]["ensemble"]] == list(NAMES)
    assert scores["source"]["steps"] == [5, 5, 5]
    assert (swept / "report.html").is_file()
    for name in set(TILES) - {"train", "val"}:
        image = cv2.imread(str(workdir().parent / "data" / "img" / f"{name}.png"))[..., ::-1]
        mask = cv2.imread(str(swept / "evaluation/test/predictions" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        assert (mask == together.predict(np.ascontiguousarray(image))[0]).mean() > 0.999


def test_what_an_ensemble_cannot_be_scored_on(folds):
    with pytest.raises(InputError, match=r"config\.data\.val_fold: 0 and 1"):
        evaluate.main(["--workdir", str(folds), "--split", "val"])
    with pytest.raises(InputError, match="--output DIR"):
        evaluate.main(["--workdir", *(str(folds / name) for name in NAMES[:2])])
