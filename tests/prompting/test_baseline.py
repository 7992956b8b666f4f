"""The paper's untrained baselines, from the download to scores: synthetic glands, a tiny random SAM."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sampath_jax import baseline, prepare
from sampath_jax.config import load_config
from sampath_jax.data.synthetic import write_crag
from sampath_jax.errors import InputError
from sampath_jax.models.config import SamEncoderConfig
from sampath_jax.prompting import dot_segmenter, weights
from sampath_jax.prompting.dot_segmenter import DotSegmenter
from sampath_jax.prompting.geometry import Frame
from sampath_jax.prompting.pictures import draw_dots
from sampath_jax.prompting.predictor import Embedded, Prediction, PromptableSam
from sampath_jax.reporting import write
from sampath_jax.weights import build_model
from tests.prompting.tiny_sam import write_sam

#: One block on an input of 128 x 128 pixels: compiling is what takes long.
ONE_BLOCK = SamEncoderConfig(width=96, depth=1, heads=4, global_blocks=(0,), grid=(8, 8))
#: SAM's masks of random weights are poor: everything passes, so that there is something to see.
LOOSE = ("baseline.points_per_side=2", "baseline.min_predicted_iou=-1e9", "baseline.min_stability=-1")


@pytest.fixture(scope="module", autouse=True)
def one_block():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SamEncoderConfig, "tiny", classmethod(lambda cls: ONE_BLOCK))
        patch.setattr(write, "report_after", lambda *_: None)  # drawing takes longer than all the rest
        yield


@pytest.fixture(scope="module")
def glands(tmp_path_factory, one_block):
    """CRAG as downloaded and as `prepare` makes it, and SAM's weights."""
    root = tmp_path_factory.mktemp("glands")
    write_crag(root / "raw", train=1, test=2, size=(96, 80), seed=0)
    paths = ["--source", str(root / "raw"), "--output", str(root / "data")]
    prepare.main(["crag", *paths, "--count-folds", "1"])
    write_sam(root / "sam")
    return root


def run(glands, workdir, config, *overrides):
    places = (f"data.root={glands / 'data'}", f"weights.sam={glands / 'sam'}", "model.sam=tiny")
    return baseline.main(
        [
            *("--config", f"configs/baselines/{config}.py", "--workdir", str(workdir)),
            *(f"--config.{value}" for value in (*places, *overrides)),
        ]
    )


def annotation(glands, name):
    return cv2.imread(str(glands / "raw/valid/Annotation" / f"{name}.png"), cv2.IMREAD_UNCHANGED)


def prediction(workdir, name):
    path = workdir / "evaluation/test/predictions" / f"{name}.png"
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


@pytest.fixture(scope="module")
def vanilla(glands, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "vanilla"
    assert run(glands, workdir, "crag_vanilla_sam") == 0
    return workdir


def test_a_dot_per_gland_is_scored_like_a_model(glands, vanilla):
    folder = vanilla / "evaluation" / "test"
    scores = json.loads((folder / "scores.json").read_text())
    assert set(scores["classes"]) == {"background", "gland"}
    assert scores["tiles"] == 2
    overlap = union = 0
    for name in ("test_1", "test_2"):
        truth, found = annotation(glands, name) > 0, prediction(vanilla, name) > 0
        assert (folder / "overlays" / f"{name}.png").is_file()
        overlap, union = overlap + (truth & found).sum(), union + (truth | found).sum()
    assert scores["classes"]["gland"]["iou"]["value"] == pytest.approx(overlap / union)


def test_the_time_is_the_mean_of_a_tile_on_a_device(vanilla):
    source = json.loads((vanilla / "evaluation/test/scores.json").read_text())["source"]
    assert source["device"] == "1 x cpu"
    assert 0 < source["seconds_per_tile"] < 60


def test_what_is_timed_compiles_nothing(glands, traces, monkeypatch):
    """Neither the first tile of a size nor another number of dots does, whatever the clock sees before."""
    sam = PromptableSam.load(glands / "sam")
    segmenter, inside = DotSegmenter(sam, multimask=True, largest_share=1.0), []

    def clock():
        inside.append(len(traces))
        return 0.0

    monkeypatch.setattr(dot_segmenter, "time", SimpleNamespace(perf_counter=clock))
    for size, count in (((50, 70), 1), ((50, 70), 40), ((60, 40), 3)):
        segmenter.timed(np.zeros((*size, 3), np.uint8), np.ones((count, 2), np.float32))
    assert traces
    assert inside[0::2] == inside[1::2]


def test_large_masks_are_dropped(glands, vanilla, tmp_path):
    """The same masks, fewer of them. Those of random weights are small: here a quarter is much."""
    share = "baseline.largest_share=0.25"
    assert run(glands, tmp_path / "filtered", "crag_vanilla_sam_filtered", share) == 0
    before, after = (
        np.stack([prediction(workdir, name) for name in ("test_1", "test_2")])
        for workdir in (vanilla, tmp_path / "filtered")
    )
    assert ((after > 0) <= (before > 0)).all()
    assert 0 < after.sum() < before.sum()


def test_components_stand_in_for_missing_instances(glands, tmp_path):
    assert run(glands, tmp_path, "crag_vanilla_sam", "baseline.instances=") == 0
    assert (tmp_path / "evaluation" / "test" / "scores.json").is_file()


def test_everything_gives_overlays_and_no_scores(glands, tmp_path):
    assert run(glands, tmp_path, "crag_vanilla_sam", "baseline.prompts=everything", *LOOSE) == 0
    folder = tmp_path / "evaluation" / "test"
    assert {path.name for path in (folder / "overlays").iterdir()} == {"test_1.png", "test_2.png"}
    image = cv2.imread(str(glands / "raw/valid/Images/test_1.png"))
    assert not np.array_equal(cv2.imread(str(folder / "overlays" / "test_1.png")), image)
    assert not (folder / "scores.json").exists()


def test_all_tiles_that_cannot_be_dotted_are_named_before_sam_is_loaded(glands, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "read_weights", lambda folder: pytest.fail("SAM was loaded"))
    data = shutil.copytree(glands / "data", tmp_path / "data")
    instances, here = data / "instances", f"data.root={data}"
    cv2.imwrite(str(instances / "test_1.png"), np.zeros((96, 80), np.uint8))
    cv2.imwrite(str(instances / "test_2.png"), np.ones((96, 81), np.uint8))
    with pytest.raises(InputError, match=r"(?s)2 problems.*tile without objects.*test_1.*81x96"):
        run(glands, tmp_path / "run", "crag_vanilla_sam", here)
    (instances / "test_1.png").unlink()
    cv2.imwrite(str(instances / "test_2.png"), np.ones((96, 80, 3), np.uint8))
    with pytest.raises(InputError, match=r"(?s)2 problems.*test_1.*8- or 16-bit"):
        run(glands, tmp_path / "run", "crag_vanilla_sam", here)
    assert not (tmp_path / "run").exists(), "a corrected config may still use the folder"


def test_more_glands_than_8_bits_number(glands, tmp_path):
    data = shutil.copytree(glands / "data", tmp_path / "data")
    for name in ("test_1", "test_2"):
        glands_of = annotation(glands, name).astype(np.uint16)
        cv2.imwrite(str(data / "instances" / f"{name}.png"), np.where(glands_of, glands_of + 300, 0))
    assert run(glands, tmp_path / "run", "crag_vanilla_sam", f"data.root={data}") == 0
    vanilla_dots = cv2.imread(str(tmp_path / "run/evaluation/test/overlays/test_1.png"))
    assert vanilla_dots is not None


@pytest.mark.parametrize(
    ("message", "overrides"),
    [
        ("exactly two classes", ("baseline.object_class=tumour",)),
        (r"config\.model\.sam is vit_b, but .*sam holds SAM tiny", ("model.sam=vit_b",)),
        ("no tiny weights", ("weights.sam=nowhere",)),
    ],
)
def test_what_cannot_be_run_is_said(glands, tmp_path, message, overrides):
    with pytest.raises(InputError, match=message):
        run(glands, tmp_path / "run", "crag_vanilla_sam", *overrides)


def test_a_training_config_is_no_baseline(tmp_path):
    with pytest.raises(InputError, match=r"is no baseline.*sampath_jax\.train"):
        baseline.main(["--config", "configs/crag.py", "--workdir", str(tmp_path)])


def test_random_weights_are_those_that_training_draws(tmp_path):
    values = (
        "model.sam=tiny",
        "weights.sam=random",
        "model.input_size=(128,128)",
        "model.attention=reference",
    )
    config = load_config(Path("configs/crag_sam_only.py"), [f"--config.{value}" for value in values])
    sam, trained = weights.sam_of_config(config, tmp_path), build_model(config)
    for part in ("pos_embed", "patch_embed"):
        ours, theirs = (getattr(model.sam_encoder, part) for model in (sam, trained))
        ours, theirs = (x if part == "pos_embed" else x.kernel for x in (ours, theirs))
        np.testing.assert_array_equal(ours[...], theirs[...])
    assert sam.sam_encoder.blocks[0].attn.attention == "reference"


class FixedMasks(PromptableSam):
    """Answers every dot with the first of the given masks that it is on."""

    def __init__(self, masks):
        self.masks, self.side = masks, 16

    def embed(self, image):
        return Embedded(Frame.of(image, self.side), np.zeros((1, 1, 1, 256), np.float32))

    def predict(self, image, points, *, multimask, prompts_per_batch):
        masks = np.stack([next(mask for mask in self.masks if mask[int(y), int(x)]) for x, y in points])
        count = len(points)
        return Prediction(
            masks[:, None], np.ones((count, 1), np.float32), np.zeros((count, 1, 4, 4), np.float32)
        )


def rectangle(rows, columns):
    mask = np.zeros((8, 12), bool)
    mask[:rows, :columns] = True
    return mask


@pytest.mark.parametrize(
    ("masks", "largest_share", "covered"),
    [
        ((rectangle(4, 6), rectangle(8, 12)), 0.5, 0.25),  # all of the image is dropped
        ((rectangle(4, 6), rectangle(8, 12)), 1.0, 1.0),
        ((rectangle(4, 6), rectangle(8, 6)), 0.5, 0.5),  # exactly half is not more than half
        ((rectangle(4, 6), rectangle(8, 7)), 0.5, 0.25),
        ((rectangle(4, 6), rectangle(2, 12)), 0.5, 0.375),  # 24 + 24 pixels, 12 of them twice
    ],
)
def test_the_union_of_masks_that_are_small_enough(masks, largest_share, covered):
    segmenter = DotSegmenter(FixedMasks(masks), multimask=True, largest_share=largest_share)
    far = [np.argwhere(masks[1] & ~masks[0])[-1][::-1]]
    dots = np.array([[0, 0], *far, *[[0, 0]] * 20], np.float32)  # more than a batch
    assert segmenter.segment(np.zeros((8, 12, 3), np.uint8), dots).mean() == covered


def test_dots_are_drawn_where_they_are():
    drawn = draw_dots(np.full((60, 90, 3), 128, np.uint8), np.array([[70.0, 20.0]]))
    assert drawn[20, 70].max() == 0
    assert (drawn[40:, :50] == 128).all()
