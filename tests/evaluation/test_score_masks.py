import cv2
import numpy as np
import pytest

from sampath_jax.errors import InputError
from sampath_jax.evaluation.score_masks import score_masks
from tests.evaluation.test_evaluator import config_of


@pytest.fixture
def config():
    config = config_of()
    config.data.classes = ({"name": "gland", "values": (7, 8)}, {"name": "stroma", "values": (3,)})
    config.data.ignored = (255,)
    return config


def write(folder, **masks):
    folder.mkdir(exist_ok=True)
    for name, mask in masks.items():
        cv2.imwrite(str(folder / f"{name}.png"), np.array(mask, np.uint8))
    return folder


def test_raw_values_at_own_sizes(config, tmp_path):
    labels = write(tmp_path / "labels", a=[[7, 8, 3], [255, 3, 3]], b=[[3], [7]])
    predictions = write(tmp_path / "out", a=[[8, 7, 7], [7, 3, 255]], b_mask=[[3], [3]], extra=[[99]])
    results = score_masks(predictions, labels, config)
    assert results.tiles == ("a", "b")
    np.testing.assert_array_equal(results.confusion, [[0, 1, 0], [0, 2, 1], [1, 1, 2]])
    assert results.scores.accuracy == 4 / 7


def test_slides_come_from_the_names(config, tmp_path):
    names = ("TCGA-AA-0001-DX1_0", "TCGA-AA-0001-DX1_1", "TCGA-AA-0002-DX1_0")
    folder = write(tmp_path / "labels", **{name: [[3, 7]] for name in names})
    results = score_masks(folder, folder, config)
    assert results.unit == "slide"
    assert results.scores.macro_dice == 1


def test_all_problems_at_once(config, tmp_path):
    labels = write(tmp_path / "labels", a=[[7]], b=[[7]], c=[[7]], d=[[7]])
    predictions = write(tmp_path / "out", a=[[7, 7]], b=[[9]], e=[[7]])
    (predictions / "d.png").write_text("no image")
    with pytest.raises(InputError) as error:
        score_masks(predictions, labels, config)
    text = " ".join(str(error.value).replace("│", " ").split())
    assert "4 problems" in text
    for part in ("2x1 pixels", "value 9", "no prediction", "c", "cannot be decoded"):
        assert part in text


def test_missing_and_empty_folders(config, tmp_path):
    full, empty = write(tmp_path / "full", a=[[7]]), write(tmp_path / "empty")
    with pytest.raises(InputError, match="no folder"):
        score_masks(tmp_path / "nowhere", full, config)
    with pytest.raises(InputError, match="holds no mask"):
        score_masks(full, empty, config)
