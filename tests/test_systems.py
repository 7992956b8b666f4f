"""All systems of the paper's table 1, from CRAG as it is downloaded to the table: each by its own command.

Every image is a few thousand pixels, every transformer one block of random weights, every training two steps.
"""

import csv
import functools
import math
from types import SimpleNamespace

import pytest

from sampath_jax import baseline, compare, evaluate, prepare, train
from sampath_jax.data.synthetic import write_crag
from sampath_jax.models import mask_decoder
from sampath_jax.models.config import HiptConfig, SamEncoderConfig
from sampath_jax.models.two_way_transformer import TwoWayTransformer
from sampath_jax.reporting import write
from sampath_jax.workdir import WorkDir
from tests.reporting.reading import Page

pytestmark = pytest.mark.optim

TRAINED = ("crag", "crag_sam_only", "crag_hipt_only")
#: Name of the run -> config and what differs in it.
BASELINES = {
    "vanilla": ("crag_vanilla_sam",),
    "filtered": ("crag_vanilla_sam_filtered",),
    "everything": (
        "crag_vanilla_sam",
        "baseline.prompts=everything",
        "baseline.points_per_side=2",
        "baseline.points_per_batch=4",
    ),
}
SMALL = (
    *("model.sam=tiny", "model.hipt=tiny", "weights.sam=random", "weights.hipt=random"),
    *("model.input_size=(32,48)", "data.layout=prepared", "data.canvas=(48,64)", "augment.enabled=False"),
    *("optim.batch_size=2", "optim.epochs=2", "optim.warmup_epochs=0", "log.tensorboard=False"),
    *("eval.batch_size=2", "mesh.data=1"),
)
#: Published Dice and IOU of CRAG, and whether that IOU is a recall.
PAPER = {
    "crag": ("0.8841", "0.8831", True),
    "crag_sam_only": ("0.8414", "0.8451", True),
    "crag_hipt_only": ("0.8191", "0.8252", True),
    "vanilla": ("0.5245", "0.3555", False),
    "filtered": ("0.6598", "0.4924", False),
}


def one_block(patch):
    """Transformers of one block: compiling is what takes long."""
    sam = SamEncoderConfig(width=96, depth=1, heads=4, global_blocks=(0,), window=7, grid=(4, 4))
    patch.setattr(SamEncoderConfig, "tiny", classmethod(lambda cls: sam))
    hipt = HiptConfig(width=48, depth=1, heads=3, grid=14)
    patch.setattr(HiptConfig, "tiny", classmethod(lambda cls: hipt))
    patch.setattr(mask_decoder, "TwoWayTransformer", functools.partial(TwoWayTransformer, depth=1))


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The folder of runs, and the comparison of all six as it was written."""
    root = tmp_path_factory.mktemp("systems")
    write_crag(root / "raw", train=3, test=2, size=(56, 72), seed=0)
    prepare.main(
        ["crag", "--source", str(root / "raw"), "--output", str(root / "data"), "--count-folds", "2"]
    )
    with pytest.MonkeyPatch.context() as patch:
        one_block(patch)
        patch.setattr(write, "report_after", lambda *_: None)  # drawing takes longer than all the rest

        def run(command, config, workdir, *changes):
            overrides = [f"--config.{value}" for value in (f"data.root={root / 'data'}", *SMALL, *changes)]
            arguments = ["--config", f"configs/{config}.py", "--workdir", str(root / workdir), *overrides]
            assert command.main(arguments) == 0

        for name in TRAINED:
            run(train, name, name)
            assert evaluate.main(["--workdir", str(root / name)]) == 0
        for name, (config, *changes) in BASELINES.items():
            run(baseline, f"baselines/{config}", name, *changes)
        runs = [str(root / name) for name in (*TRAINED, *BASELINES)]
        assert compare.main([*runs, "--output", str(root / "out")]) == 0
    with open(root / "out" / "comparison.csv", newline="") as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    page = Page((root / "out" / "comparison.html").read_text())
    markdown = (root / "out" / "comparison.md").read_text()
    return SimpleNamespace(root=root, rows=rows, page=page, markdown=markdown)


@pytest.mark.parametrize("name", TRAINED)
def test_each_model_learns(compared, name):
    """An epoch is one step on all training tiles."""
    metrics = WorkDir.open(compared.root / name).read_metrics()
    _, first, second = (record["train"].get("loss") for record in metrics)
    assert math.isfinite(first)
    assert second < first


def test_every_run_has_the_papers_row_and_its_recalls_are_marked(compared):
    _, published, _ = compared.page.tables
    ours = [i for i, row in enumerate(published) if row[1] == "this run"]
    assert [published[i][0] for i in ours] == [*TRAINED, *BASELINES]
    for i in ours[:-1]:
        dice, iou, recall = PAPER[published[i][0]]
        assert published[i + 1][1].startswith("paper: ")
        assert published[i + 1][2:4] == [dice, iou]
        assert published[i][5] == "gland recall, not IoU"
        assert published[i + 1][5] == ("gland recall, not IoU" if recall else "IoU")
        assert f"| {dice} | {iou} |" in compared.markdown
    assert "false positives included" in compared.page.text
    assert "Not scored on CRAG's 40 test tiles: crag (2), crag_sam_only (2)" in compared.page.text


def test_segment_everything_is_a_slash(compared):
    scores, published, _ = compared.page.tables
    assert scores[-1] == ["everything", "Vanilla SAM, everything", "/", "/", "/", "/"]
    assert published[-1][1:5] == ["this run", "/", "/", "/"]
    assert '"/": segment-everything' in compared.markdown
    assert compared.rows["everything"]["published/dice"] == ""


@pytest.mark.parametrize("name", PAPER)
def test_scores_have_intervals(compared, name):
    row = compared.rows[name]
    for score in ("macro_dice", "micro_iou", "dice/gland", "iou/gland", "published/dice", "published/iou"):
        low, value, high = (float(row[score + part]) for part in ("_low", "", "_high"))
        assert 0 <= low <= value <= high <= 1
    dice, low, high = (float(row[f"published/dice{part}"]) for part in ("", "_low", "_high"))
    assert dice == pytest.approx(float(row["dice/gland"]))
    assert f"{dice:.4f} [{low:.3f}, {high:.3f}]" in compared.markdown


def test_what_is_trained_and_how_long_a_tile_takes(compared):
    rows, (*_, cost) = compared.rows, compared.page.tables
    trainable = {name: int(row["trainable_parameters"]) for name, row in rows.items()}
    assert all(0 < trainable[name] < int(rows[name]["parameters"]) for name in TRAINED)
    assert trainable["crag_sam_only"] < trainable["crag_hipt_only"] < trainable["crag"], "its neck is frozen"
    assert [trainable[name] for name in BASELINES] == [0, 0, 0]
    for name in PAPER:
        assert float(rows[name]["seconds_per_tile"]) > 0
        assert rows[name]["device"].endswith("cpu")
    assert [row[6] for row in cost[1:4]] == ["1 x cpu"] * 3


def test_where_pixels_were_counted(compared):
    assert {name: row["scored_at"] for name, row in compared.rows.items()} == {
        **dict.fromkeys(TRAINED, "64x48"),
        **dict.fromkeys(("vanilla", "filtered"), "own size"),
        "everything": "",
    }
    assert "at each tile's own size for vanilla, filtered" in compared.page.text
