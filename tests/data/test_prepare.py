"""Preparation: downloads to prepared data sets, read back pixel for pixel, and downloads gone wrong."""

import csv
import hashlib
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from configs import labels
from sampath_jax import prepare
from sampath_jax.data.checks import check_dataset
from sampath_jax.data.decode import decode_instances
from sampath_jax.data.index import open_index
from sampath_jax.data.pipeline import evaluation_batches, training_batches
from sampath_jax.data.source import open_source
from sampath_jax.errors import InputError
from tests.data import made
from tests.shared import SHARED, needs_shared

#: Two slides of test institutes (OL, E2), five others; one region with many tiles, one smaller than a tile.
BCSS_REGIONS = {
    "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500": (70, 100),
    "TCGA-OL-A5D6-DX1_xmin115108_ymin40554_MPP-0.2500": (40, 32),
    "TCGA-BH-A0BG-DX1_xmin3_ymin5_MPP-0.2500": (20, 45),
    "TCGA-E2-A158-DX1_xmin1_ymin2_MPP-0.2500": (32, 32),
    "TCGA-A2-A0D0-DX1_xmin1_ymin2_MPP-0.2500": (33, 64),
    "TCGA-A7-A0DA-DX1_xmin1_ymin2_MPP-0.2500": (64, 64),
    "TCGA-C8-A12V-DX1_xmin1_ymin2_MPP-0.2500": (50, 50),
}


def codes(size, seed=0):
    """A mask with all 22 BCSS codes in stripes."""
    return ((np.indices(size).sum(0) + seed) % 22).astype(np.uint8)


@pytest.fixture(scope="module")
def bcss(tmp_path_factory):
    """A made BCSS download, at a hundredth of its size, and what `prepare` makes of it."""
    root = tmp_path_factory.mktemp("bcss")
    for number, (name, size) in enumerate(BCSS_REGIONS.items()):
        made.write(root / "raw" / "rgbs_colorNormalized" / f"{name}.png", made.image(number, size))
        made.write(root / "raw" / "masks" / f"{name}.png", codes(size, number))
    prepare.main(bcss_command(root))
    return root


def bcss_command(root, output="out", *more):
    paths = ["--source", str(root / "raw"), "--output", str(root / output)]
    return ["bcss", *paths, "--tile", "32", "--count-folds", "3", *map(str, more)]


def prepared_config(root, spec=labels.BCSS, **values):
    config = made.config(root, data__layout="prepared", data__canvas=(32, 32), **values)
    config.data.classes, config.data.ignored = spec
    return config


def test_bcss_splits(bcss):
    config = prepared_config(bcss / "out")
    index = open_index(config)
    assert {tile.slide for tile in index.split("test")} == {"TCGA-OL-A5D6-DX1", "TCGA-E2-A158-DX1"}
    folds = {}
    for tile in index.tiles:
        folds.setdefault(tile.slide, set()).add(tile.fold)
    assert all(len(found) == 1 for found in folds.values())
    assert set().union(*folds.values()) == {-1, 0, 1, 2}
    assert check_dataset(config).warnings == ()


def test_bcss_tiles_hold_the_pixels_of_their_place(bcss):
    name = (
        "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500"  # 70 x 100: rows 0, 19, 38, columns 0, 22, 45, 68
    )
    tiles = {}
    for split in ("train", "val", "test"):
        source = open_source(prepared_config(bcss / "out"), split)
        tiles |= {tile.id: source[i] for i, tile in enumerate(source.tiles)}
    assert len(tiles) == 12 + 2 + 2 + 1 + 4 + 4 + 4
    tile = tiles[f"{name}_2_1"]
    np.testing.assert_array_equal(tile["image"], made.image(0, (70, 100))[38:70, 22:54])
    np.testing.assert_array_equal(tile["mask"], codes((70, 100))[38:70, 22:54])


def test_region_smaller_than_a_tile_keeps_its_resolution(bcss):
    config = prepared_config(bcss / "out")
    name = "TCGA-BH-A0BG-DX1_xmin3_ymin5_MPP-0.2500_0_1"
    (tile,) = (tile for tile in open_index(config).tiles if tile.id == name)
    source = open_source(config, tile.split)
    pair = source[source.tiles.index(tile)]
    np.testing.assert_array_equal(pair["image"][:20], made.image(2, (20, 45))[:, 13:])
    np.testing.assert_array_equal(pair["mask"][:20], codes((20, 45), 2)[:, 13:])
    assert (pair["mask"][20:] == 0).all()


def test_batches_of_a_prepared_data_set(bcss):
    config = prepared_config(bcss / "out", eval__batch_size=5)
    batches = list(evaluation_batches(config, "test"))
    assert [b["valid"].sum() for b in batches] == [3]
    config = prepared_config(bcss / "out", data__workers=1)
    batches = training_batches(config)
    batch = next(batches)
    batches.close()
    assert batch["image"].shape == (4, 32, 32, 3)
    assert batch["label"].max() == 5


def test_incomplete_copy_is_reported(bcss, tmp_path):
    """Every record of a missing file is a problem, and so is a table of something else."""
    copy = shutil.copytree(bcss / "out", tmp_path / "copy")
    next(copy.rglob("*test.array_record*")).unlink()
    with pytest.raises(InputError, match="unreadable file") as error:
        check_dataset(prepared_config(copy))
    assert "(3 problems)" in str(error.value)
    (copy / "tiles.csv").write_text("id,fold\na,1\n")
    with pytest.raises(InputError, match="no column record, slide"):
        open_index(prepared_config(copy))


def test_truncated_records_are_reported(bcss, tmp_path):
    copy = shutil.copytree(bcss / "out", tmp_path / "copy")
    path = next(copy.rglob("*test.array_record*"))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="unreadable file"):
        check_dataset(prepared_config(copy))


def test_another_fold_can_validate(bcss):
    index = open_index(prepared_config(bcss / "out", data__val_fold=2))
    assert {tile.fold for tile in index.split("val")} == {2}
    assert {tile.fold for tile in index.split("train")} == {0, 1}


def test_card_tells_what_is_in_it(bcss):
    card = (bcss / "out" / "README.md").read_text()
    for part in (
        "| tiles | 29 from 7 regions |",
        "| tile size | 32x32 pixels",
        "| resolution | 0.25 micrometres per pixel |",
        "3, drawn per slide (seed 0)",
        "| test | 3 | 2 |",
        "| tumor | 1, 19, 20 |",
        "masks hold 0: ignore",
    ):
        assert part in card
    shares = [
        line.split("|")[3:-1] for line in card.splitlines() if line.startswith(("| tumor", "| no label"))
    ]
    assert all(0 < float(share.strip(" %")) < 40 for row in shares for share in row)
    sums = dict(
        reversed(line.split("  ")) for line in (bcss / "out" / "sources.sha256").read_text().splitlines()
    )
    assert len(sums) == 14
    name = f"masks/{next(iter(BCSS_REGIONS))}.png"
    assert sums[name] == hashlib.sha256((bcss / "raw" / name).read_bytes()).hexdigest()


def test_tensorflow_is_not_needed(bcss):
    import sys

    assert "tensorflow" not in sys.modules


def test_same_seed_same_folds(bcss):
    prepare.main(bcss_command(bcss, "again"))
    assert (bcss / "again" / "tiles.csv").read_text() == (bcss / "out" / "tiles.csv").read_text()


def test_published_folds(bcss):
    regions = list(BCSS_REGIONS)
    given = {f"{regions[0]}_0_0": 2} | {name: -1 for name in regions[:2]} | {name: 0 for name in regions[2:]}
    table = made.write_folds(bcss / "given.csv", given)
    prepare.main(bcss_command(bcss, "given", "--folds", table))
    with (bcss / "given" / "tiles.csv").open() as file:
        folds = {row["id"]: int(row["fold"]) for row in csv.DictReader(file)}
    assert folds[f"{regions[0]}_0_0"] == 2
    assert folds[f"{regions[0]}_0_1"] == -1
    assert folds[f"{regions[6]}_1_1"] == 0


def test_table_that_misses_tiles(bcss):
    table = made.write_folds(bcss / "short.csv", dict.fromkeys(list(BCSS_REGIONS)[:-1], 0))
    with pytest.raises(InputError, match="tile without fold") as error:
        prepare.main(bcss_command(bcss, "short", "--folds", table))
    assert "(4 problems)" in str(error.value)
    assert not (bcss / "short").exists()


def test_jpeg_tiles_are_smaller(bcss):
    prepare.main(bcss_command(bcss, "jpeg", "--jpeg", 90))
    source = open_source(prepared_config(bcss / "jpeg"), "test")
    assert source.encoded(0)[0][:2] == b"\xff\xd8"
    expected = open_source(prepared_config(bcss / "out"), "test")[0]["image"]
    assert np.abs(source[0]["image"].astype(int) - expected).mean() < 4


def test_bcss_at_its_real_size(tmp_path):
    """A region of 4000x3000 pixels is cut at rows 0, 988, 1976 and columns 0, 992, 1984, 2976."""
    large, small = (
        "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500",
        "TCGA-A2-A0D0-DX1_xmin1_ymin2_MPP-0.2500",
    )
    images = {large: made.image(4, (3000, 4000)), small: made.image(5, (700, 900))}
    for name, image in images.items():
        made.write(tmp_path / "raw" / "rgbs_colorNormalized" / f"{name}.png", image)
        stripes = (np.arange(image.shape[1]) // 40 % 22).astype(np.uint8)
        made.write(
            tmp_path / "raw" / "masks" / f"{name}.png", np.broadcast_to(stripes, image.shape[:2]).copy()
        )
    paths = ["--source", str(tmp_path / "raw"), "--output", str(tmp_path / "out")]
    prepare.main(["bcss", *paths, "--count-folds", "2"])
    config = prepared_config(tmp_path / "out", optim__batch_size=1)
    assert len(open_index(config).tiles) == 13
    assert check_dataset(config).sizes == ((1024, 1024),)
    for split in ("train", "val"):
        source = open_source(config, split)
        names = [tile.id for tile in source.tiles]
        if f"{large}_1_2" in names:
            tile = source[names.index(f"{large}_1_2")]
            np.testing.assert_array_equal(tile["image"], images[large][988 : 988 + 1024, 1984 : 1984 + 1024])
            assert tile["mask"][0, 0] == 1984 // 40 % 22
        else:
            tile = source[0]
            np.testing.assert_array_equal(tile["image"][:700, :900], images[small])
            assert not tile["mask"][700:].any()
            assert not tile["mask"][:, 900:].any()


@pytest.fixture
def crag(tmp_path):
    """CRAG as downloaded: instance masks, more than 255 glands in one, different sizes."""
    for folder, names in {"train": ["train_1", "train_2", "train_10"], "valid": ["test_1"]}.items():
        for number, name in enumerate(names):
            size = (30 + number, 41)
            glands = np.arange(size[0] * size[1]).reshape(size)
            glands[:, :20] = 0
            made.write(tmp_path / "raw" / folder / "Images" / f"{name}.png", made.image(number, size))
            values = glands.astype(np.uint16) if name == "train_2" else (glands % 200).astype(np.uint8)
            made.write(tmp_path / "raw" / folder / "Annotation" / f"{name}.png", values)
    return tmp_path


def crag_command(root, *more):
    return ["crag", "--source", str(root / "raw"), "--output", str(root / "out"), "--count-folds", "3", *more]


def test_crag_instances_become_one_class(crag):
    prepare.main(crag_command(crag))
    config = prepared_config(crag / "out", labels.CRAG)
    index = open_index(config)
    assert [tile.id for tile in index.split("test")] == ["test_1"]
    assert sorted(tile.fold for tile in index.tiles) == [-1, 0, 1, 2]
    for tile in index.tiles:
        source = open_source(config, tile.split)
        mask = source[source.tiles.index(tile)]["mask"]
        assert mask.shape[1] == 41  # kept whole
        assert not mask[:, :20].any()
        assert set(np.unique(mask)) == {0, 1}
    assert "| gland | 1 |" in (crag / "out" / "README.md").read_text()


def test_crag_keeps_its_instances(crag):
    """As numbered in the download, in 8 bits or 16."""
    prepare.main(crag_command(crag))
    written = {path.name: path for path in (crag / "out" / "instances").iterdir()}
    assert set(written) == {f"{name}.png" for name in ("train_1", "train_2", "train_10", "test_1")}
    for path in (crag / "raw").glob("*/Annotation/*.png"):
        kept = decode_instances(written[path.name].read_bytes(), path.name)
        assert kept.dtype == (np.uint16 if path.stem == "train_2" else np.uint8)
        np.testing.assert_array_equal(kept, cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


def test_instances_are_cut_like_their_tiles(crag):
    """A tile of 32x32 reaches beyond the image of 30x41: nothing is numbered there."""
    prepare.main(crag_command(crag, "--tile", "32"))
    annotation = cv2.imread(str(crag / "raw/train/Annotation/train_1.png"), cv2.IMREAD_UNCHANGED)
    for column, start in enumerate((0, 9)):
        path = crag / "out" / "instances" / f"train_1_0_{column}.png"
        kept = decode_instances(path.read_bytes(), path.name)
        np.testing.assert_array_equal(kept[:30], annotation[:, start : start + 32])
        assert kept.shape == (32, 32)
        assert not kept[30:].any()


def test_folder_with_given_splits(tmp_path):
    for split, count in {"train": 3, "val": 2, "test": 1}.items():
        for number in range(count):
            made.write(tmp_path / "raw" / split / "images" / f"{number}.jpg", made.image(number, (40, 70)))
            made.write(tmp_path / "raw" / split / "masks" / f"{number}.png", made.mask((40, 70)))
    paths = ["--source", str(tmp_path / "raw"), "--output", str(tmp_path / "out")]
    prepare.main(["folder", *paths, "--tile", "32"])
    index = open_index(prepared_config(tmp_path / "out", (made.CLASSES, (0,))))
    assert [len(index.split(split)) for split in ("train", "val", "test")] == [18, 12, 6]
    assert index.split("val")[0].id == "val_0_0_0"


@needs_shared
def test_folder_of_real_tiles(tmp_path):
    paths = ["--source", str(SHARED / "data" / "nuclei"), "--output", str(tmp_path / "out")]
    prepare.main(["folder", *paths, "--tile", "384"])
    spec = ({"name": "background", "values": (0,)}, {"name": "nucleus", "values": (1,)}), ()
    report = check_dataset(prepared_config(tmp_path / "out", spec))
    assert report.sizes == ((384, 384),)
    assert 0.1 < report.shares("val")[2] < 0.3


@pytest.mark.parametrize(
    ("command", "spoil", "message"),
    [
        ("crag", lambda raw: (raw / "train/Annotation/train_1.png").unlink(), "image without mask"),
        ("crag", lambda raw: (raw / "train/Images/train_1.png").unlink(), "mask without image"),
        (
            "crag",
            lambda raw: made.write(raw / "train/Images/train_x.png", made.image(1)),
            "image without mask",
        ),
        ("crag", lambda raw: made.write(raw / "valid/Images/train_1.png", made.image(1)), "duplicate id"),
        (
            "crag",
            lambda raw: made.write(raw / "train/Annotation/train_1.png", made.mask((9, 9))),
            "differ in size",
        ),
        ("crag", lambda raw: (raw / "train/Images/train_1.png").write_bytes(b"x"), "unreadable file"),
        (
            "crag",
            lambda raw: Image.fromarray(np.full((30, 41), 65536, np.int32)).save(
                raw / "train/Annotation/train_1.png", format="TIFF"
            ),
            "objects not numbered",
        ),
        (
            "crag",
            lambda raw: [path.unlink() for path in raw.rglob("train_1*.png")],
            "1 slides cannot be dealt",
        ),
        ("bcss", lambda raw: None, "folder missing"),
        ("folder", lambda raw: None, "folder missing"),
    ],
)
def test_bad_download(crag, command, spoil, message):
    spoil(crag / "raw")
    with pytest.raises(InputError, match=message):
        prepare.main([command, *crag_command(crag)[1:]])
    assert not (crag / "out").exists()


def test_bcss_with_foreign_names_and_codes(tmp_path):
    made.write(tmp_path / "raw" / "images" / "slide.png", made.image(1))
    made.write(tmp_path / "raw" / "masks" / "slide.png", made.mask())
    with pytest.raises(InputError, match="no TCGA barcode"):
        prepare.main(bcss_command(tmp_path))
    for folder in ("images", "masks"):
        path = tmp_path / "raw" / folder / "slide.png"
        path.rename(path.with_name("TCGA-A1-A0SK-DX1_xmin1_ymin1_MPP-0.2500.png"))
    path = tmp_path / "raw" / "masks" / "TCGA-A1-A0SK-DX1_xmin1_ymin1_MPP-0.2500.png"
    made.write(path, np.full((24, 40), 22, np.uint8))
    with pytest.raises(InputError, match="unknown values"):
        prepare.main(bcss_command(tmp_path))


def test_small_region_of_a_folder_needs_a_value_for_the_rest(tmp_path):
    for name in "abc":
        made.write(tmp_path / "raw" / "images" / f"{name}.png", made.image(1))
        made.write(tmp_path / "raw" / "masks" / f"{name}.png", made.mask())
    command = ["folder", *bcss_command(tmp_path)[1:]]
    with pytest.raises(InputError, match="region smaller than a tile"):
        prepare.main(command)
    prepare.main([*command, "--unlabelled", "200"])
    source = open_source(prepared_config(tmp_path / "out", (made.CLASSES, (0, 200))), "train")
    assert (source[0]["mask"][24:] == 200).all()


def test_output_that_holds_something(crag):
    made.write(crag / "out" / "my.png", made.image(1))
    with pytest.raises(InputError, match="not empty"):
        prepare.main(crag_command(crag))


@pytest.mark.parametrize(
    "option", [("--tile", "7"), ("--jpeg", "101"), ("--count-folds", "0"), ("--seed", "-1")]
)
def test_impossible_settings(crag, option):
    with pytest.raises(InputError, match=option[0]):
        prepare.main([*crag_command(crag), *option])


def test_interrupted_preparation_leaves_nothing_half(crag, monkeypatch):
    def fail(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("sampath_jax.data.preparation.write_card", fail)
        with pytest.raises(KeyboardInterrupt):
            prepare.main(crag_command(crag))
    assert not (crag / "out").exists()
    prepare.main(crag_command(crag))
    assert (crag / "out" / "tiles.csv").exists()


CONFIG = """
from tests.data import made
def get_config():
    return made.config({root!r})
"""


def test_check_prints_the_label_table_and_draws_a_preview(tmp_path, capsys):
    made.published(tmp_path / "data")
    (tmp_path / "config.py").write_text(CONFIG.format(root=str(tmp_path / "data")))
    arguments = ["check", "--config", str(tmp_path / "config.py"), "--preview", str(tmp_path / "preview.png")]
    prepare.main(arguments)
    printed = capsys.readouterr().out
    assert "gland" in printed
    assert "47.92%" in printed
    picture = cv2.imread(str(tmp_path / "preview.png"))
    assert min(picture.shape[:2]) > 400
    # the outline of the gland, in its colour
    assert (np.abs(picture[..., ::-1].astype(int) - (0, 0xAA, 0)).max(-1) < 30).any()
    with pytest.raises(InputError, match=r"batches of 50"):
        prepare.main([*arguments, "--config.optim.batch_size=50"])
