"""The paper's untrained baselines, from files to scores: synthetic glands, a tiny SAM of random weights."""

import json

import cv2
import numpy as np
import pytest

from sampath_jax import baseline
from sampath_jax.data.synthetic import write_crag
from sampath_jax.errors import InputError
from sampath_jax.initial_values import random_weights
from sampath_jax.models.abstract import abstract, shapes_of
from sampath_jax.models.config import SamEncoderConfig
from sampath_jax.models.sam import Sam
from sampath_jax.prompting.baseline import draw_dots, segment_dots
from sampath_jax.prompting.predictor import Prediction, PromptableSam
from sampath_jax.trees import unflatten
from sampath_jax.weights import write_weights

SIZE = (96, 80)


@pytest.fixture(scope="module")
def glands(tmp_path_factory):
    """CRAG-like images in the published layout, instance masks in a folder of their own, SAM's weights."""
    root = tmp_path_factory.mktemp("glands")
    write_crag(root / "raw", train=1, test=2, size=SIZE, seed=0)
    for folder in ("img", "mask", "instances"):
        (root / folder).mkdir()
    rows = ["img_id,fold"]
    for image in sorted((root / "raw").glob("*/Images/*.png")):
        instances = cv2.imread(str(image.parents[1] / "Annotation" / image.name), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(root / "instances" / image.name), instances)
        cv2.imwrite(str(root / "mask" / image.name), (instances > 0).astype(np.uint8))
        (root / "img" / image.name).write_bytes(image.read_bytes())
        rows.append(f"{image.stem},{-1 if image.stem.startswith('test') else 1}")
    (root / "cv.csv").write_text("\n".join(rows) + "\n")
    shapes = shapes_of(abstract(lambda rngs: Sam(SamEncoderConfig.tiny(), rngs=rngs)))
    write_weights(root / "sam", unflatten(random_weights(shapes, 0)), {"model": "sam", "size": "tiny"})
    return root


def run(glands, workdir, config, *overrides):
    values = (f"data.root={glands}", f"weights.sam={glands / 'sam'}", "model.sam=tiny", *overrides)
    return baseline.main(
        [
            *("--config", f"configs/baselines/{config}.py", "--workdir", str(workdir)),
            *(f"--config.{value}" for value in values),
        ]
    )


def test_a_dot_per_gland_is_scored_like_a_model(glands, tmp_path):
    assert run(glands, tmp_path, "crag_vanilla_sam", f"baseline.instances={glands / 'instances'}") == 0
    folder = tmp_path / "evaluation" / "test"
    scores = json.loads((folder / "scores.json").read_text())
    assert set(scores["classes"]) == {"background", "gland"}
    assert scores["tiles"] == 2
    assert scores["source"]["seconds_per_tile"] > 0
    overlap = union = 0
    for name in ("test_1", "test_2"):
        truth = cv2.imread(str(glands / "mask" / f"{name}.png"), cv2.IMREAD_UNCHANGED) > 0
        found = cv2.imread(str(folder / "predictions" / f"{name}.png"), cv2.IMREAD_UNCHANGED) > 0
        assert (folder / "overlays" / f"{name}.png").is_file()
        overlap, union = overlap + (truth & found).sum(), union + (truth | found).sum()
    assert scores["classes"]["gland"]["iou"]["value"] == pytest.approx(overlap / union)


def test_components_stand_in_for_missing_instances(glands, tmp_path):
    assert run(glands, tmp_path, "crag_vanilla_sam_filtered", "baseline.instances=") == 0
    assert (tmp_path / "evaluation" / "test" / "scores.json").is_file()


def test_everything_gives_overlays_and_no_scores(glands, tmp_path):
    options = ("baseline.points_per_side=2", "baseline.points_per_batch=4")
    crag = "crag_vanilla_sam", "baseline.prompts=everything"
    assert run(glands, tmp_path, *crag, *options) == 0
    folder = tmp_path / "evaluation" / "test"
    assert {path.name for path in (folder / "overlays").iterdir()} == {"test_1.png", "test_2.png"}
    assert not (folder / "scores.json").exists()


def test_what_cannot_be_run_is_said(glands, tmp_path):
    with pytest.raises(InputError, match=r"test_1\.png cannot be read"):
        run(glands, tmp_path / "a", "crag_vanilla_sam", f"baseline.instances={tmp_path}")
    with pytest.raises(InputError, match="exactly two classes"):
        run(glands, tmp_path / "b", "crag_vanilla_sam", "baseline.object_class=tumour")
    empty = tmp_path / "instances"
    empty.mkdir()
    cv2.imwrite(str(empty / "test_1.png"), np.zeros(SIZE, np.uint8))
    with pytest.raises(InputError, match="holds no instance"):
        run(glands, tmp_path / "c", "crag_vanilla_sam", f"baseline.instances={empty}")
    with pytest.raises(InputError, match="is no baseline"):
        baseline.main(["--config", "configs/crag.py", "--workdir", str(tmp_path / "d")])


class QuarterAndAll(PromptableSam):
    """Answers the first dot with a quarter of the image, the second with all of it."""

    def __init__(self):
        pass

    def predict(self, image, points=None, labels=None, boxes=None, masks=None, *, multimask=True):
        masks = np.zeros((2, 1, *image.shape[:2]), bool)
        masks[0, 0, : image.shape[0] // 2, : image.shape[1] // 2] = True
        masks[1] = True
        return Prediction(masks, np.ones((2, 1), np.float32), np.zeros((2, 1, 4, 4), np.float32))


@pytest.mark.parametrize(("largest_share", "covered"), [(0.5, 0.25), (1.0, 1.0)])
def test_masks_larger_than_the_share_are_dropped(largest_share, covered):
    image, dots = np.zeros((8, 12, 3), np.uint8), np.zeros((2, 2), np.float32)
    mask = segment_dots(QuarterAndAll(), image, dots, multimask=True, largest_share=largest_share)
    assert mask.mean() == covered


def test_dots_are_drawn_where_they_are():
    drawn = draw_dots(np.full((60, 90, 3), 128, np.uint8), np.array([[70.0, 20.0]]))
    assert drawn[20, 70].max() == 0
    assert (drawn[40:, :50] == 128).all()
