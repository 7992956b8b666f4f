import csv
import io
import json
import shutil

import pytest

from configs import labels
from sampath_jax import compare
from sampath_jax.errors import InputError
from sampath_jax.evaluation.results import Results
from sampath_jax.reporting.paper import TABLE_1, iou_of_dice, paper_row
from sampath_jax.workdir import WorkDir
from tests.reporting import made
from tests.reporting.reading import Page

CLASSES = ("background", "gland")
DOTS = {"prompts": "dots", "object_class": "gland"}


def crag_config(folder, name="crag", encoders=("sam", "hipt"), **baseline):
    """CRAG's label table and published metrics, whatever the config is called."""
    config = made.tiny_config(folder / "data", **baseline)
    config.name, config.eval.published_ignored_class = name, 1
    config.data.classes, config.data.ignored = labels.CRAG
    config.model.encoders = encoders
    return config


def crag_like(folder, config, **source):
    """A run whose published figures leave the background out: 80 of 100 gland pixels are found, 40 of 100
    background pixels are taken for gland; in the first tile 20 more of each are right."""
    run = WorkDir.create(folder / config.name.replace("|", ""), config).path
    counts = made.confusions()[:2, :3, :3] * 0
    counts[0, 1, 1:], counts[0, 2, 1:] = (80, 20), (0, 100)
    counts[1, 1, 1:], counts[1, 2, 1:] = (40, 60), (40, 60)
    given = {"seconds_per_tile": 1.25, "device": "4 x H100", "size": [48, 64]} | source
    Results(CLASSES, ("a", "b"), ("s", "t"), counts, given, 1).write(run / "evaluation" / "test")
    return run


def compared(tmp_path, *runs):
    assert compare.main([*map(str, runs), "--output", str(tmp_path / "out")]) == 0
    return tmp_path / "out"


def records(out):
    return list(csv.DictReader(io.StringIO((out / "comparison.csv").read_text())))


def test_paper_arithmetic():
    """Which printed IOUs follow from the printed Dice: all but those of models trained on CRAG."""
    assert {(row.system, row.data) for row in TABLE_1 if row.is_recall} == {
        (system, "CRAG") for system in ("SAM-Path", "SAM-Path w.o. F_s", "Fine-tuned SAM (w.o. F_p)")
    }
    assert iou_of_dice(0.5245) == pytest.approx(0.3555, abs=5e-5)
    assert iou_of_dice(0.7949) == pytest.approx(0.6596, abs=5e-5)


def test_numbers_in_every_format(tmp_path):
    """Gland Dice 2 * 160 / (200 + 240) = 0.7273, IoU 160 / 280 = 0.5714, recall 160 / 200 = 0.8; of the tiles
    alone: Dice 0.9091 and 0.5455, IoU 0.8333 and 0.375, recall 1 and 0.6. The bootstrap draws each of them
    twice in a quarter of its draws, so these are the limits."""
    out = compared(tmp_path, crag_like(tmp_path, crag_config(tmp_path)), made.make_run(tmp_path))
    page = Page((out / "comparison.html").read_text())
    scores, published, cost = page.tables
    assert scores[1][:2] == ["crag", "SAM-Path"]
    assert scores[2][:2] == ["run", "SAM-Path w.o. F_s"]
    assert scores[2][2].startswith("0.7000 [")
    assert published[1][1:] == [
        "this run",
        "0.7273 [0.545, 0.909]",
        "0.8000 [0.600, 1.000]",
        "0.5714 [0.375, 0.833]",
        "gland recall, not IoU",
    ]
    assert published[2][1:] == [
        "paper: SAM-Path, CRAG",
        "0.8841",
        "0.8831",
        "0.7923",
        "gland recall, not IoU",
    ]
    assert published[3][0:2] == ["run", "this run"]
    assert cost[0][5:] == ["Seconds per tile", "on"]
    assert cost[1][4:] == ["2", "1.25", "4 x H100"]
    assert "pixels whose truth is background are dropped" in page.text
    assert "do not have the same classes" in page.text
    assert "Not scored on CRAG's 40 test tiles: crag (2)." in page.text
    markdown = (out / "comparison.md").read_text()
    assert "| crag | this run | 0.7273 [0.545, 0.909] | 0.8000 [0.600, 1.000] |" in markdown
    first, second = records(out)
    assert float(first["published/dice"]) == float(first["dice/gland"]) == 320 / 440
    assert float(first["iou/gland"]) == 160 / 280
    for limits in (first["published/dice_low"], first["dice/gland_low"]):
        assert float(limits) == pytest.approx(120 / 220)
    assert float(first["iou/gland_high"]) == pytest.approx(100 / 120)
    assert (first["paper/iou"], second["paper/iou"]) == ("0.8831", "")
    assert (first["seconds_per_tile"], first["device"]) == ("1.25", "4 x H100")
    assert int(first["trainable_parameters"]) < int(first["parameters"])


def test_baselines_train_nothing(tmp_path):
    run = crag_like(tmp_path, crag_config(tmp_path, "dots", **DOTS), size="own", device="cpu")
    out = compared(tmp_path, run)
    (row,) = records(out)
    assert (row["trainable_parameters"], row["device"], row["paper/iou is"]) == ("0", "cpu", "IoU")
    assert (row["scored_at"], row["system"]) == ("own size", "Vanilla SAM")
    assert "0.5245 / (2 - 0.5245) = 0.3555" in (out / "comparison.md").read_text()


def test_where_pixels_are_counted_is_said(tmp_path):
    trained = crag_like(tmp_path, crag_config(tmp_path))
    dots = crag_like(tmp_path, crag_config(tmp_path, "dots", **DOTS), size="own")
    text = (compared(tmp_path, trained, dots) / "comparison.md").read_text()
    assert "on the canvas of 64 x 48 pixels for crag; at each tile's own size for dots" in text
    assert "counted at each tile's own size." in (compared(tmp_path, dots) / "comparison.md").read_text()


@pytest.mark.parametrize(
    ("changes", "dice"),
    [
        ({}, 0.8841),
        ({"encoders": ("hipt",)}, 0.8191),
        ({"encoders": ("sam",)}, 0.8414),
        (DOTS, 0.5245),
        (DOTS | {"largest_share": 0.5}, 0.6598),
        (DOTS | {"largest_share": 0.7}, None),
        ({"prompts": "everything"}, None),
    ],
)
def test_the_paper_has_a_row_for_what_was_run(tmp_path, changes, dice):
    row = paper_row(crag_config(tmp_path, "any name", **changes))
    assert (row and row.dice) == dice


def test_the_paper_has_a_row_for_masks_of_its_data_sets_only(tmp_path):
    config = crag_config(tmp_path)
    for table in (labels.BCSS, labels.BCSS_PUBLISHED):
        config.data.classes, config.data.ignored = table
        assert paper_row(config) is None, "published metrics that drop a class are not BCSS's"
        config.eval.published_ignored_class = 0
        assert paper_row(config).dice == 0.7949
        config.eval.published_ignored_class = 1
    background, gland = labels.CRAG[0]
    for classes in (
        (background, gland | {"name": "tumour"}),
        (background, gland | {"values": (1, 2)}),
        (gland, background),
    ):
        config.data.classes, config.data.ignored = classes, (255,)
        assert paper_row(config) is None, classes
    config.data.classes = (background | {"color": "#000000"}, gland)
    assert paper_row(config).dice == 0.8841


def test_terminal(tmp_path, capsys):
    compared(tmp_path, crag_like(tmp_path, crag_config(tmp_path)))
    printed = capsys.readouterr().out
    assert "0.7273" in printed
    assert "0.8831" in printed
    assert "Written to" in printed


def test_other_splits_have_no_paper_row(tmp_path):
    run = crag_like(tmp_path, crag_config(tmp_path))
    (run / "evaluation" / "test").rename(run / "evaluation" / "val")
    out = tmp_path / "out"
    assert compare.main([str(run), "--split", "val", "--output", str(out)]) == 0
    assert "paper/dice" not in records(out)[0]


def test_all_heads_of_an_ensemble_count(tmp_path):
    one = crag_like(tmp_path, crag_config(tmp_path, "one"))
    three = crag_like(tmp_path, crag_config(tmp_path, "three"), ensemble=["a", "b", "c"])
    single, several = records(compared(tmp_path, one, three))
    head, total = int(single["trainable_parameters"]), int(single["parameters"])
    assert int(several["trainable_parameters"]) == 3 * head
    assert int(several["parameters"]) == total + 2 * head
    assert (single["system"], several["system"]) == ("SAM-Path", "SAM-Path, ensemble of 3")
    assert several["model"].endswith(", 3 heads")


def test_folders_of_the_same_name_are_told_apart(tmp_path):
    runs = [made.make_run(tmp_path / name) for name in "ab"]
    assert [row["run"] for row in records(compared(tmp_path, *runs))] == [str(run) for run in runs]


def test_markup_in_names_stays_text(tmp_path):
    run = crag_like(tmp_path, crag_config(tmp_path)).rename(tmp_path / "a|<b>")
    markdown = (compared(tmp_path, run) / "comparison.md").read_text()
    assert "| a\\|&lt;b> | SAM-Path |" in markdown


def test_a_single_slide_has_no_interval(tmp_path):
    run = made.make_run(tmp_path)
    made.edit_scores(run, lambda content: content["overall"]["macro_dice"].update(low=None, high=None))
    page = Page((compared(tmp_path, run) / "comparison.html").read_text())
    assert page.tables[0][1][2] == "0.7000"


def test_several_kept_classes_have_no_interval_of_their_own(tmp_path):
    """No score of ours is the published Dice of two of three classes: 2 * 490 / (700 + 700) in each."""
    config = made.tiny_config(tmp_path / "data")
    config.eval.published_ignored_class = 1
    page = Page((compared(tmp_path, made.make_run(tmp_path, config)) / "comparison.html").read_text())
    assert page.tables[1][1][2] == "0.7000"


def test_a_run_without_scores_names_the_command(tmp_path):
    run = made.make_run(tmp_path, evaluated=False)
    with pytest.raises(InputError, match="has no scores of the test split") as error:
        compared(tmp_path, run)
    assert f"python -m sampath_jax.evaluate --workdir {run} --split test" in str(error.value)


def test_segment_everything_has_a_slash_for_every_score(tmp_path):
    everything = WorkDir.create(
        tmp_path / "everything", crag_config(tmp_path, "everything", prompts="everything")
    ).path
    with pytest.raises(InputError, match="no overlays of the test split"):
        compared(tmp_path, everything)
    (everything / "evaluation" / "test" / "overlays").mkdir(parents=True)
    out = compared(tmp_path, everything, crag_like(tmp_path, crag_config(tmp_path)))
    scores, published, cost = Page((out / "comparison.html").read_text()).tables
    assert scores[1] == ["everything", "Vanilla SAM, everything", "/", "/", "/", "/"]
    assert published[1] == ["everything", "this run", "/", "/", "/", "no semantic score"]
    assert cost[1][0] == "everything"
    assert '"/": segment-everything finds masks without classes' in (out / "comparison.md").read_text()
    assert records(out)[0]["macro_dice"] == ""


def test_segment_everything_alone_on_bcss_stands_beside_the_papers_slash(tmp_path):
    config = crag_config(tmp_path, "bcss", prompts="everything")
    config.data.classes, config.data.ignored = labels.BCSS
    config.eval.published_ignored_class = 0
    run = WorkDir.create(tmp_path / "run", config).path
    (run / "evaluation" / "test" / "overlays").mkdir(parents=True)
    _, published, _ = Page((compared(tmp_path, run) / "comparison.html").read_text()).tables
    assert published[2][1:] == ["paper: Vanilla SAM, everything, BCSS", "/", "/", "/", "no semantic score"]


def test_damaged_scores(tmp_path):
    run = made.make_run(tmp_path)
    (run / "evaluation/test/scores.json").write_text(json.dumps({"classes": {}}))
    with pytest.raises(InputError, match="damaged"):
        compared(tmp_path, run)
    shutil.rmtree(run)
    with pytest.raises(InputError, match="not a work directory"):
        compared(tmp_path, run)
