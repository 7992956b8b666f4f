import json
import re
import shutil
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sampath_jax import report
from sampath_jax.drawing import rgb
from sampath_jax.errors import InputError
from sampath_jax.reporting.contents import gather
from sampath_jax.reporting.write import render, report_after
from tests.reporting import made
from tests.reporting.reading import Page

SVG = "{http://www.w3.org/2000/svg}"


def write(run, *arguments):
    assert report.main(["--workdir", str(run), *arguments]) == 0
    return Page((run / "report.html").read_text())


def page_of(run, overrides=()):
    """The page alone, without the files of the figures, which take most of the time."""
    return Page(render(gather(run, None, overrides)))


@pytest.fixture(scope="module")
def done(reported):
    text = (reported / "report.html").read_text()
    return SimpleNamespace(run=reported, page=Page(text), text=text)


def test_scores_are_those_of_the_evaluation(done):
    """Over tiles 0 to 6 a class has 490 hits and 210 errors of 700 pixels: Dice 0.7, IoU 490 / 910."""
    rows = done.page.table("Dice", 1)
    assert [row[0] for row in rows[1:]] == [*made.NAMES, "Mean of classes (macro)", "All pixels (micro)"]
    scores = json.loads((done.run / "evaluation/test/scores.json").read_text())
    for row, name in zip(rows[1:4], made.NAMES, strict=True):
        interval = scores["classes"][name]["dice"]
        assert row[1] == f"0.7000 {interval['low']:.3f}\N{EN DASH}{interval['high']:.3f}"
        assert row[2].startswith("0.5385 ")
    assert done.page.table("Precision", 1)[1][3] == "700"
    assert done.page.table("Figure")[5] == ["published/iou_macro", "0.4038"]  # 3 * 0.5385 / 4


def test_confusion_matrix(done):
    rows = done.page.table("", 0)
    assert rows[0] == ["", *made.NAMES]
    assert rows[1][1:] == ["70.0%490", "30.0%210", "0.0%0"]
    assert rows[3][1:] == ["30.0%210", "0.0%0", "70.0%490"]
    figure = ET.parse(done.run / "figures" / "confusion_matrix.svg")
    cell = {g.get("id"): "".join(g.itertext()).strip() for g in figure.iter(f"{SVG}g")}
    assert (cell["share-1-1"], cell["share-1-2"], cell["share-3-1"]) == ("70.0", "30.0", "30.0")


def heights(figure, gid):
    """The points of a line, from the top of the drawing, in points."""
    group = next(g for g in figure.iter(f"{SVG}g") if g.get("id") == gid)
    numbers = re.findall(r"[ML] [\d.]+ ([\d.]+)", group.find(f"{SVG}path").get("d"))
    return [float(number) for number in numbers]


def test_learning_curves_hold_the_metrics(done):
    """On one axis, equal steps of a score are equal steps of height."""
    figure = ET.parse(done.run / "figures" / "learning_curves.svg")
    start, best, last = heights(figure, "val-macro_dice")
    assert (start - best) / (last - best) == pytest.approx((0.875 - 0.125) / (0.875 - 0.75), rel=1e-3)
    assert "best 0.875" in "".join(figure.getroot().itertext())
    total, dice = heights(figure, "train-loss"), heights(figure, "train-dice")
    assert len(total) == 2  # nothing was trained before the first evaluation
    assert dice[0] > total[0] == total[1]
    assert heights(figure, "class-1") == pytest.approx(heights(figure, "class-3"))


def test_tiles_are_best_median_and_worst(done):
    captions = re.findall(
        r"(best|median|worst) · macro Dice ([\d.]+) · accuracy ([\d.]+) · (t\d)", done.page.text
    )
    shown = [(rank, tile) for rank, _, _, tile in captions]
    assert shown == [
        ("best", "t0"),
        ("best", "t1"),
        ("median", "t2"),
        ("median", "t3"),
        ("worst", "t5"),
        ("worst", "t6"),
    ]
    assert captions[0][1:3] == ("1.000", "1.000")
    assert captions[5][1:3] == ("0.400", "0.400")
    assert sum(address.startswith("data:image/jpeg") for address in done.page.addresses) == 6 * 3
    assert cv2.imread(str(done.run / "figures" / "qualitative.png")).shape[1] > 1500


def test_names_are_escaped(done):
    assert "<i>tiny" not in done.text
    assert "<b>gland" not in done.text
    assert "&lt;i&gt;tiny" in done.text
    assert made.NAMES[1] in done.page.text
    assert "$x_1$" in "".join(ET.parse(done.run / "figures" / "learning_curves.svg").getroot().itertext())


def test_nothing_is_requested(done):
    assert all(address.startswith(("data:", "#")) for address in done.page.addresses)
    assert not {"script", "iframe", "object", "embed"} & set(done.page.elements)
    assert re.findall(r"@import|url\((?!#)", done.text) == []
    assert len(done.page.ids) == len(set(done.page.ids))
    assert len(done.text) < 5_000_000


def test_what_was_run_is_said(done):
    text = done.page.text
    for part in (
        "HIPT tiny",
        "Trained for 2 of 32 epochs so far",
        "2 x cpu",
        "not recorded in this folder",
        "jax 0.",
    ):
        assert part in text
    keys = {row[0]: row[1:] for row in done.page.table("Key")[1:]}
    assert keys["data.val_fold"] == ["0", ""]
    assert keys["model.encoders"] == ["('hipt',)", "set"]
    assert done.page.table("Split")[3] == ["test", "7", "7"]


def test_a_run_without_evaluation_says_so(tmp_path):
    run = made.make_run(tmp_path, evaluated=False)
    page = write(run)
    assert "has not been evaluated yet" in page.text
    assert f"python -m sampath_jax.evaluate --workdir {run} --split test" in page.text
    assert "Confusion matrix" not in page.text
    assert sorted(p.name for p in (run / "figures").iterdir()) == [
        "learning_curves.png",
        "learning_curves.svg",
    ]


def test_an_empty_run_without_its_data_says_so(tmp_path):
    run = made.make_run(tmp_path, evaluated=False, trained=False)
    shutil.rmtree(tmp_path / "data")
    text = write(run).text
    for part in ("No learning curves", "No training is recorded", "Tiles are not counted", "none yet"):
        assert part in text
    assert list((run / "figures").iterdir()) == []


def test_moved_data(tmp_path):
    run = made.make_run(tmp_path)
    shutil.move(tmp_path / "data", tmp_path / "moved")
    assert "Name the data set with --config.data.root=DIR" in page_of(run).text
    page = page_of(run, [f"--config.data.root={tmp_path / 'moved'}"])
    assert sum(address.startswith("data:image/jpeg") for address in page.addresses) == 18


def test_scores_of_an_older_checkpoint_are_marked(tmp_path):
    run = made.make_run(tmp_path)
    made.write_results(run, step=0)
    meta = run / "checkpoints" / "6" / "meta"
    meta.mkdir(parents=True)
    (meta / "metadata").write_text(json.dumps({"frozen": "f" * 64, "versions": {"jax": "0.9"}}))
    text = page_of(run).text
    assert "of the checkpoint of step 0; the best one is that of step 6" in text
    assert "f" * 64 in text


def test_the_untrained_head_is_never_the_best(tmp_path):
    run = made.make_run(tmp_path)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines[0]["val"]["macro_dice"] = 0.99
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = page_of(run).text
    assert "best 0.875" in text
    assert "0.875 best validation macro Dice at step 6" in text


def test_a_background_is_not_coloured(tmp_path):
    config = made.tiny_config(tmp_path / "data")
    config.eval.published_ignored_class = 1
    run = made.make_run(tmp_path, config)
    assert f"Pixels of {made.NAMES[0]} are scored, but not coloured." in page_of(run).text
    example = gather(run).examples[0]  # everything is predicted as that class
    np.testing.assert_array_equal(example.prediction, example.image)


def test_other_splits(tmp_path):
    run = made.make_run(tmp_path, evaluated=False)
    made.write_results(run, "val")
    assert "Results on the val split" in page_of(run).text
    made.write_results(run, "test")
    text = page_of(run).text
    assert "Results on the test split" in text
    assert "Also evaluated: val" in text


def test_undefined_scores_and_single_slides(tmp_path):
    run = made.make_run(tmp_path)

    def change(content):
        for score in ("dice", "iou", "precision", "recall"):
            content["classes"][made.NAMES[0]][score] = {"value": None, "low": None, "high": None}
        content["intervals"]["units"] = 1

    made.edit_scores(run, change)
    page = page_of(run)
    assert page.table("Dice", 1)[1][1].strip() == "\N{EN DASH}"
    assert "neither in the truth nor predicted" in page.text
    assert "only one slide" in page.text


def test_damaged_results(tmp_path):
    run = made.make_run(tmp_path)
    (run / "evaluation" / "test" / "confusion.csv").write_text("true,a\na,1\n")
    with pytest.raises(InputError, match="damaged"):
        report.main(["--workdir", str(run)])
    report_after(run)  # at the end of a command it only warns


def test_not_a_work_directory(tmp_path):
    with pytest.raises(InputError, match="not a work directory"):
        report.main(["--workdir", str(tmp_path)])


def test_truth_and_prediction_are_drawn_in_the_colours_of_the_config(tmp_path):

    example = gather(made.make_run(tmp_path)).examples[0]
    height = example.image.shape[0]
    middle = slice(round(height * 0.33), round(height * 0.42))  # of the first class's stripe
    for picture in (example.truth, example.prediction):
        tinted = picture[middle].astype(float) - 0.5 * example.image[middle]
        np.testing.assert_allclose(np.median(tinted, (0, 1)), 0.5 * np.array(rgb(made.COLORS[0])), atol=1.5)
    top = slice(0, round(height * 0.15))
    np.testing.assert_array_equal(example.truth[top], example.image[top])
