import csv
import json

import numpy as np
import pytest

from sampath_jax.evaluation.results import Results
from sampath_jax.evaluation.tables import print_results

CONFUSIONS = np.array(
    [
        [[5, 1, 0, 0], [0, 6, 2, 0], [0, 0, 4, 0], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [2, 1, 0, 0], [0, 3, 5, 0], [0, 0, 0, 0]],
        [[9, 0, 0, 0], [0, 0, 0, 0], [0, 0, 8, 0], [0, 0, 0, 0]],
    ]
)


def results(**other):
    given = {
        "classes": ("tumor", "stroma", "fat"),
        "tiles": ("t0", "t1", "t2"),
        "slides": ("A", "A", "B"),
        "confusions": CONFUSIONS,
        "source": {"split": "test"},
    }
    return Results(**(given | other))


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_files(tmp_path):
    results().write(tmp_path / "evaluation")
    assert sorted(p.name for p in (tmp_path / "evaluation").iterdir()) == [
        "confusion.csv",
        "per_tile.csv",
        "scores.json",
    ]
    first, _, last = rows(tmp_path / "evaluation" / "per_tile.csv")
    assert (first["tile"], first["slide"], first["labelled_pixels"]) == ("t0", "A", "12")
    assert float(first["accuracy"]) == 10 / 12
    assert float(first["dice/tumor"]) == 12 / 14
    assert (last["dice/tumor"], last["dice/stroma"], last["iou/fat"]) == ("", "1.0", "")
    tumor, stroma, fat = rows(tmp_path / "evaluation" / "confusion.csv")
    assert tumor == {"true \\ predicted": "tumor", "tumor": "7", "stroma": "2", "fat": "0", "none": "2"}
    assert (stroma["stroma"], fat["fat"]) == ("17", "0")


def test_json_is_valid_and_says_what_is_not_defined(tmp_path):
    results().write(tmp_path)
    scores = json.loads((tmp_path / "scores.json").read_text(), parse_constant=pytest.fail)
    assert scores["overall"]["accuracy"]["value"] == 24 / 31
    assert scores["overall"]["accuracy"]["low"] <= 24 / 31 <= scores["overall"]["accuracy"]["high"]
    assert scores["classes"]["fat"]["dice"] == {"value": None, "low": None, "high": None}
    assert scores["classes"]["tumor"]["pixels"] == 11
    assert (scores["tiles"], scores["slides"], scores["labelled_pixels"]) == (3, 2, 31)
    assert set(scores["published"]) == {
        "published/dice",
        "published/dice_macro",
        "published/f1",
        "published/iou",
        "published/iou_macro",
    }
    assert scores["intervals"]["unit"] == "slide"
    assert scores["source"] == {"split": "test"}


def test_tiles_are_the_unit_without_slides():
    assert results(slides=("t0", "t1", "t2")).unit == "tile"


def test_table(capsys):
    print_results(results())
    out = capsys.readouterr().out
    assert "0.6667" in out  # Dice of tumor: 2 * 7 / (11 true + 10 predicted)
    assert "published/iou_macro" in out
    assert "neither in the truth nor predicted" in out
    assert max(len(line) for line in out.splitlines() if line.startswith("│")) <= 80


def test_a_single_slide_is_said_to_have_no_interval(capsys):
    print_results(results(slides=("A", "A", "A")))
    assert "no intervals" in capsys.readouterr().err
