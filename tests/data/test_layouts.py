"""Which tiles a data set has: published and plain layout, splits, slides, and what is missing."""

from dataclasses import replace
from pathlib import Path

import pytest

from sampath_jax.data.index import open_index, scan
from sampath_jax.data.tile import Tile, shared_slides, slide_of
from sampath_jax.errors import InputError
from tests.data import made
from tests.shared import SHARED, needs_shared


def ids(index, split):
    return [tile.id for tile in index.split(split)]


def test_published_folds(tmp_path):
    index = open_index(made.config(made.published(tmp_path)))
    assert ids(index, "test") == ["i", "j"]
    assert ids(index, "val") == ["a", "k"]
    assert ids(index, "train") == ["b", "c", "d", "e", "f", "g", "h"]


def test_fold_0_trains_when_another_validates(tmp_path):
    """The published code never trains on fold 0, whichever fold validates."""
    index = open_index(made.config(made.published(tmp_path), data__val_fold=2))
    assert ids(index, "val") == ["d", "f"]
    assert "a" in ids(index, "train")


def test_table_as_pandas_and_excel_write_it(tmp_path):
    made.published(tmp_path, {"x_MPP-0.2500_0_1": 0, "y": 1})
    text = "﻿,img_id,fold,comment\n0,x_MPP-0.2500_0_1,0.0,none\n1, y.png,1,\n"
    (tmp_path / "cv.csv").write_text(text, encoding="utf-8")
    index = open_index(made.config(tmp_path))
    assert [(t.id, t.fold, t.image.name) for t in index.tiles] == [
        ("x_MPP-0.2500_0_1", 0, "x_MPP-0.2500_0_1.png"),
        ("y", 1, "y.png"),
    ]


def test_images_outside_the_table_are_told(tmp_path):
    made.published(tmp_path)
    made.write(tmp_path / "img" / "spare.png", made.image(0))
    _, problems = scan(made.config(tmp_path))
    assert not problems
    assert "1 images in img/ are not in cv.csv and are not used: spare" in problems.notes[0]


def test_plain_layout(tmp_path):
    for split, names in {"train": "cab", "val": "d", "test": "e"}.items():
        for name in names:
            made.write(tmp_path / split / "images" / f"{name}.jpg", made.image(1))
            made.write(tmp_path / split / "masks" / f"{name}.png", made.mask())
    index = open_index(made.config(tmp_path, data__layout="plain"))
    assert [ids(index, split) for split in ("train", "val", "test")] == [["a", "b", "c"], ["d"], ["e"]]


def test_plain_layout_without_test_and_with_equal_names(tmp_path):
    for split in ("train", "val"):
        made.write(tmp_path / split / "images" / "001.tif", made.image(1))
        made.write(tmp_path / split / "masks" / "001.tiff", made.mask())
    index = open_index(made.config(tmp_path, data__layout="plain"))
    assert ids(index, "train") == ids(index, "val") == ["001"]
    assert ids(index, "test") == []
    assert not shared_slides(index.tiles)


@pytest.mark.parametrize(
    ("name", "slide"),
    [
        ("TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500_0_2", "TCGA-A1-A0SK-DX1"),
        ("TCGA-A1-A0SK-01Z-00-DX1.0A2B_3_4", "TCGA-A1-A0SK-01Z-00-DX1"),
        ("train_12", "train_12"),
    ],
)
def test_slide_of(name, slide):
    assert slide_of(name) == slide


def test_slides_in_two_splits(tmp_path):
    made.published(
        tmp_path, {"TCGA-A1-A0SK-DX1_0_0": 0, "TCGA-A1-A0SK-DX1_0_1": 1, "TCGA-A2-A0SK-DX1_0_1": 1}
    )
    index = open_index(made.config(tmp_path))
    assert shared_slides(index.tiles) == {"TCGA-A1-A0SK-DX1": ("train", "val")}


@needs_shared
def test_real_tiles_load():
    config = made.config(SHARED / "data" / "nuclei")
    index = open_index(config)
    assert [len(index.split(split)) for split in ("train", "val", "test")] == [7, 2, 2]


def test_unknown_split(tmp_path):
    with pytest.raises(InputError, match="no split 'valid'; there are train, val, test"):
        open_index(made.config(made.published(tmp_path))).split("valid")


def test_missing_files_come_in_one_table(tmp_path):
    made.published(tmp_path)
    (tmp_path / "img" / "b.png").unlink()
    (tmp_path / "mask" / "c.png").unlink()
    (tmp_path / "mask" / "d.png").unlink()
    made.write(tmp_path / "img" / "e.jpg", made.image(1))
    with (tmp_path / "cv.csv").open("a") as file:
        file.write("a,1\nx,one\n,2\n")
    with pytest.raises(InputError) as error:
        open_index(made.config(tmp_path))
    text = str(error.value)
    for part in (
        "id without image",
        "id without mask",
        "several files for one id",
        "e.jpg, e.png",
        "duplicate id",
        "line 13: a",
        "fold is no whole number",
        "'one'",
        "empty img_id",
    ):
        assert part in text
    assert "(7 problems)" in text


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: (root / "cv.csv").unlink(), "table missing"),
        (lambda root: (root / "cv.csv").write_text("id,fold\na,1\n"), "no column 'img_id'"),
        (lambda root: (root / "cv.csv").write_text("img_id,split\na,1\n"), "no column 'fold'"),
        (lambda root: (root / "cv.csv").write_text(""), "no column 'img_id'"),
        (lambda root: (root / "cv.csv").write_text("img_id,fold\n"), "table without rows"),
        (lambda root: (root / "mask").rename(root / "masks"), "folder missing"),
    ],
)
def test_unusable_published_layout(tmp_path, prepare, message):
    made.published(tmp_path)
    prepare(tmp_path)
    with pytest.raises(InputError, match=message):
        open_index(made.config(tmp_path))


@pytest.mark.parametrize("layout", ["published", "plain", "prepared"])
def test_missing_root(tmp_path, layout):
    with pytest.raises(InputError, match="missing"):
        open_index(made.config(tmp_path / "none", data__layout=layout))
    with pytest.raises(InputError, match=r"config\.data\.root"):
        open_index(made.config("", data__layout=layout))


def test_messages_name_files_or_the_tile_of_a_prepared_set():
    tile = Tile("a_0_1", Path("data/img/a_0_1.png"), Path("data/mask/a_0_1.tif"), "train", "a", 1)
    assert (tile.image_name, tile.mask_name) == ("img/a_0_1.png", "mask/a_0_1.tif")
    prepared = replace(tile, image=Path("data"), mask=Path("data"))
    assert (prepared.image_name, prepared.mask_name) == ("a_0_1", "a_0_1")
