import json
import shutil

import cv2
import numpy as np
import pytest

from sampath_jax import evaluate
from sampath_jax.errors import InputError
from sampath_jax.evaluation.evaluate_split import evaluate_split
from sampath_jax.evaluation.evaluator import Evaluator
from sampath_jax.workdir import load_model
from tests.trained import TILES, workdir

TEST_TILES = [name for name in TILES if name not in ("train", "val")]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A copy of the work directory, evaluated."""
    folder = tmp_path_factory.mktemp("evaluate") / "run"
    shutil.copytree(workdir(), folder)
    assert evaluate.main(["--workdir", str(folder)]) == 0
    return folder


def scores(folder):
    return json.loads((folder / "scores.json").read_text())


def test_files_of_a_split(run):
    done = scores(run / "evaluation" / "test")
    assert (done["tiles"], done["slides"]) == (3, 2)
    assert done["source"]["step"] == 5
    assert done["source"]["size"] == [48, 64]
    masks = run / "evaluation" / "test" / "predictions"
    assert sorted(p.stem for p in masks.iterdir()) == sorted(TEST_TILES)
    for name in TEST_TILES:
        mask = cv2.imread(str(masks / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        assert mask.shape == TILES[name]
        assert set(np.unique(mask)) <= {7, 3}


def test_scoring_the_written_masks_gives_the_same(run, tmp_path, capsys):
    """Where canvas and tile have the same size, as in BCSS; the third tile has another."""
    labels, predictions = tmp_path / "labels", tmp_path / "predictions"
    for folder, source in [(labels, workdir().parent / "data" / "mask"),
                           (predictions, run / "evaluation" / "test" / "predictions")]:  # fmt: skip
        folder.mkdir()
        for name in TEST_TILES[:2]:
            shutil.copy(source / f"{name}.png", folder)
    arguments = ["--predictions", str(predictions), "--labels", str(labels), "--workdir", str(run)]
    assert evaluate.main([*arguments, "--output", str(tmp_path / "scores")]) == 0
    rows = [(folder / "per_tile.csv").read_text().splitlines()[1:3]
            for folder in (tmp_path / "scores", run / "evaluation" / "test")]  # fmt: skip
    assert rows[0] == rows[1]
    assert "published/dice" in capsys.readouterr().out


def test_other_splits_and_moved_data(run, tmp_path):
    moved = shutil.copytree(workdir().parent / "data", tmp_path / "moved")
    assert evaluate.main(["--workdir", str(run), "--split", "val", f"--config.data.root={moved}"]) == 0
    assert scores(run / "evaluation" / "val")["tiles"] == 1


def test_bad_tiles_are_reported_together_before_anything_runs(run, tmp_path):
    moved = shutil.copytree(workdir().parent / "data", tmp_path / "moved")
    cv2.imwrite(str(moved / "img" / f"{TEST_TILES[0]}.png"), np.zeros((48, 64, 4), np.uint8))
    cv2.imwrite(str(moved / "img" / f"{TEST_TILES[1]}.png"), np.zeros((48, 64, 3), np.uint16))
    cv2.imwrite(str(moved / "mask" / f"{TEST_TILES[2]}.png"), np.full((40, 80), 9, np.uint8))
    with pytest.raises(InputError, match="3 problems") as error:
        evaluate.main(["--workdir", str(run), f"--config.data.root={moved}"])
    for part in ("alpha", "8 bits", "unknown values"):
        assert part in str(error.value)


@pytest.mark.parametrize(("split", "batches"), [("test", 2), ("val", 1)])
def test_time_per_tile_is_that_of_a_batch_after_the_first(run, monkeypatch, split, batches):
    """In batches of two; the only batch of a split is run once more."""
    taken, forward = [], Evaluator._forward

    def timed(self, *given):
        taken.append(given[2]["index"])
        return forward(self, *given[:3], None)._replace(seconds=6.0)

    monkeypatch.setattr(Evaluator, "timed", timed)
    evaluate_split(run, split)
    source = scores(run / "evaluation" / split)["source"]
    assert (source["seconds_per_tile"], source["device"]) == (3.0, "2 x cpu")
    np.testing.assert_array_equal(taken, [[2, 0] if batches == 2 else [0, 0]])


def test_checkpoint_by_step(run):
    assert load_model(run, "5").step == 5
    with pytest.raises(InputError, match="no checkpoint '6'"):
        evaluate.main(["--workdir", str(run), "--checkpoint", "6"])


def changed(run, tmp_path, change):
    folder = shutil.copytree(run, tmp_path / "changed")
    file = folder / "config.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return folder


def test_other_frozen_weights_are_refused(run, tmp_path):
    folder = changed(run, tmp_path, lambda content: content["config"].update(seed=1))
    with pytest.raises(InputError, match="trained on frozen weights"):
        evaluate.main(["--workdir", str(folder)])


def test_another_format_is_refused(run, tmp_path):
    folder = changed(run, tmp_path, lambda content: content.update(format=99))
    with pytest.raises(InputError, match="format 99"):
        evaluate.main(["--workdir", str(folder)])


def test_no_checkpoint_yet(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "fresh", ignore=shutil.ignore_patterns("checkpoints"))
    with pytest.raises(InputError, match="no checkpoint yet"):
        evaluate.main(["--workdir", str(folder)])


def test_what_training_decided_cannot_be_overridden(run):
    with pytest.raises(InputError, match=r"config\.data\.canvas was decided"):
        evaluate.main(["--workdir", str(run), "--config.data.canvas=(32, 32)"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name a --workdir"),
        (["--workdir", "nowhere"], "not a work directory"),
        (["--predictions", "x"], "go together"),
        (["--predictions", "x", "--labels", "y"], "which classes"),
        (["--config", "configs/crag.py"], "name a --workdir"),
        (["--config", "configs/crag.py", "--predictions", "nowhere", "--labels", "y"], "no folder"),
    ],
)
def test_unclear_requests(arguments, says):
    with pytest.raises(InputError, match=says):
        evaluate.main(arguments)
