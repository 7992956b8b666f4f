import csv
import io
import json

import pytest

from sampath_jax import compare
from sampath_jax.errors import InputError
from sampath_jax.evaluation.results import Results
from sampath_jax.reporting.paper import TABLE_1, iou_of_dice
from sampath_jax.workdir import WorkDir
from tests.reporting import made
from tests.reporting.reading import Page

CLASSES = ("background", "gland")


def crag_like(folder, name, **baseline):
    """A run on two classes whose published figures leave the background out: 80 of 100 gland pixels are
    found, 40 of 100 background pixels are taken for gland."""
    config = made.tiny_config(folder / "data", **baseline)
    config.name, config.eval.published_ignored_class = name, 1
    config.data.classes = tuple(
        {"name": c, "values": (i,), "color": "#000000"} for i, c in enumerate(CLASSES)
    )
    run = WorkDir.create(folder / name.replace("|", ""), config).path
    counts = made.confusions()[:2, :3, :3] * 0
    counts[:, 1, 1:], counts[:, 2, 1:] = (60, 40), (20, 80)
    timing = {"seconds_per_tile": 1.25} if baseline else {"seconds": 5.0, "devices": "4 x H100"}
    Results(CLASSES, ("a", "b"), ("s", "t"), counts, timing, 1).write(run / "evaluation" / "test")
    return run


def compared(tmp_path, *runs):
    assert compare.main([*map(str, runs), "--output", str(tmp_path / "out")]) == 0
    return tmp_path / "out"


def records(out):
    return list(csv.DictReader(io.StringIO((out / "comparison.csv").read_text())))


def test_paper_arithmetic():
    """Which printed IOUs follow from the printed Dice: all but those of models trained on CRAG."""
    wrong = {name for name, row in TABLE_1.items() if not row.is_iou}
    assert wrong == {"crag", "crag_hipt_only", "crag_sam_only"}
    assert iou_of_dice(0.5245) == pytest.approx(0.3555, abs=5e-5)
    assert iou_of_dice(0.7949) == pytest.approx(0.6596, abs=5e-5)


def test_numbers_in_every_format(tmp_path):
    """Gland Dice 2 * 80 / (100 + 120) = 0.7273, IoU 80 / 140 = 0.5714, recall 0.8."""
    out = compared(tmp_path, crag_like(tmp_path, "crag"), made.make_run(tmp_path))
    page = Page((out / "comparison.html").read_text())
    scores, published, cost = page.tables
    assert scores[1][0] == "crag"
    assert scores[2][1:3] == ["<i>tiny</i>", scores[2][2]]
    assert scores[2][2].startswith("0.7000 [")
    assert published[1][1:] == ["this run", "0.7273", "0.8000", "0.5714", "gland recall, not IoU"]
    assert published[2][1:] == [
        "paper: SAM-Path, CRAG",
        "0.8841",
        "0.8831",
        "0.7923",
        "gland recall, not IoU",
    ]
    assert published[3][0:2] == ["run", "this run"]
    assert cost[1][4:] == ["2", "2.5", "4 x H100"]
    assert "pixels whose truth is background are dropped" in page.text
    assert "do not have the same classes" in page.text
    markdown = (out / "comparison.md").read_text()
    assert "| crag | this run | 0.7273 | 0.8000 | 0.5714 | gland recall, not IoU |" in markdown
    first, second = records(out)
    assert float(first["published/dice"]) == 160 / 220
    assert float(first["iou/gland"]) == 80 / 140
    assert (first["paper/iou"], second["paper/iou"]) == ("0.8831", "")
    assert int(first["trainable_parameters"]) < int(first["parameters"])


def test_baselines_train_nothing(tmp_path):
    run = crag_like(tmp_path, "crag_vanilla_sam", prompts="dots", object_class="gland")
    out = compared(tmp_path, run)
    (row,) = records(out)
    assert (row["trainable_parameters"], row["seconds_per_tile"], row["paper/iou is"]) == ("0", "1.25", "IoU")
    assert "0.5245 / (2 - 0.5245) = 0.3555" in (out / "comparison.md").read_text()


def test_terminal(tmp_path, capsys):
    compared(tmp_path, crag_like(tmp_path, "crag"))
    printed = capsys.readouterr().out
    assert "0.7273" in printed
    assert "0.8831" in printed
    assert "Written to" in printed


def test_other_splits_have_no_paper_row(tmp_path):
    run = crag_like(tmp_path, "crag")
    (run / "evaluation" / "test").rename(run / "evaluation" / "val")
    out = tmp_path / "out"
    assert compare.main([str(run), "--split", "val", "--output", str(out)]) == 0
    assert records(out)[0]["paper/dice"] == ""


def test_folders_of_the_same_name_are_told_apart(tmp_path):
    runs = [made.make_run(tmp_path / name) for name in "ab"]
    assert [row["run"] for row in records(compared(tmp_path, *runs))] == [str(run) for run in runs]


def test_markup_in_names_stays_text(tmp_path):
    markdown = (compared(tmp_path, crag_like(tmp_path, "a|<b>")) / "comparison.md").read_text()
    assert "| a&lt;b> | a\\|&lt;b> |" in markdown


def test_a_single_slide_has_no_interval(tmp_path):
    run = made.make_run(tmp_path)
    made.edit_scores(run, lambda content: content["overall"]["macro_dice"].update(low=None, high=None))
    page = Page((compared(tmp_path, run) / "comparison.html").read_text())
    assert page.tables[0][1][2] == "0.7000"


def test_a_run_without_scores_names_the_command(tmp_path):
    run = made.make_run(tmp_path, evaluated=False)
    with pytest.raises(InputError, match="has no scores of the test split") as error:
        compared(tmp_path, run)
    assert f"python -m sampath_jax.evaluate --workdir {run} --split test" in str(error.value)


def test_segment_everything_has_nothing_to_compare(tmp_path):
    config = made.tiny_config(tmp_path / "data", prompts="everything")
    with pytest.raises(InputError, match="without classes"):
        compared(tmp_path, made.make_run(tmp_path, config, evaluated=False))


def test_damaged_scores(tmp_path):
    run = made.make_run(tmp_path)
    (run / "evaluation/test/scores.json").write_text(json.dumps({"classes": {}}))
    with pytest.raises(InputError, match="damaged"):
        compared(tmp_path, run)
