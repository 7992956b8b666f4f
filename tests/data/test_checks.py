"""Bad data is reported before a run, every problem with file names in one table; good data in numbers."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from sampath_jax.data.checks import check_dataset, print_report
from sampath_jax.errors import InputError
from tests.data import made
from tests.shared import SHARED, needs_shared


@pytest.fixture
def root(tmp_path):
    return made.published(tmp_path)


def problems_of(config, devices=1):
    with pytest.raises(InputError) as error:
        check_dataset(config, devices)
    return " ".join(str(error.value).split())


def test_good_data_set(root, capsys):
    report = check_dataset(made.config(root))
    # 24 rows of 40: the first is ignored, half of the rest is gland
    np.testing.assert_allclose(report.shares("train"), [1 / 24, 23 / 48, 23 / 48])
    assert report.rows()[1] == (1, "gland", "7, 9", " 47.92%", " 47.92%", " 47.92%")
    assert report.sizes == ((24, 40),)
    assert report.warnings == ()
    print_report(report, (24, 40))
    shown = capsys.readouterr().out
    assert "unlabelled" in shown
    assert "resized" not in shown
    print_report(report, (48, 80))
    assert "Tiles of 40x24 pixels are resized to the canvas of 80x48" in capsys.readouterr().out


def test_shares_follow_the_masks(root):
    made.write(root / "mask" / "i.png", np.full((24, 40), 3, np.uint8))
    made.write(root / "mask" / "j.png", np.full((24, 40), 0, np.uint8))
    np.testing.assert_allclose(check_dataset(made.config(root)).shares("test"), [0.5, 0, 0.5])


@needs_shared
def test_real_tiles_pass():
    config = made.config(SHARED / "data" / "nuclei")
    config.data.classes = ({"name": "background", "values": (0,)}, {"name": "nucleus", "values": (1,)})
    config.data.ignored = ()
    report = check_dataset(config)
    assert 0.16 < report.shares("train")[2] < 0.17
    assert report.sizes[0] == (392, 459)


def test_leaking_slides_are_a_warning(tmp_path):
    made.published(
        tmp_path, {"TCGA-A1-A0SK-DX1_0_0": 0, "TCGA-A1-A0SK-DX1_0_1": 1, "TCGA-A2-A0SK-DX1_0_1": 1}
    )
    (message, no_test) = check_dataset(made.config(tmp_path, optim__batch_size=1)).warnings
    assert "1 of 2 slides have tiles in two splits" in message
    assert "TCGA-A1-A0SK-DX1 (train, val)" in message
    assert "no test tiles" in no_test


def save(path, image, **options):
    data = io.BytesIO()
    image.save(data, {".png": "PNG", ".jpg": "JPEG", ".tif": "TIFF"}[path.suffix], **options)
    path.write_bytes(data.getvalue())


def replace_image(root, name, image, suffix=".png"):
    (root / "img" / f"{name}.png").unlink()
    save(root / "img" / f"{name}{suffix}", image)


RGB = Image.fromarray(made.image(5))


def sixteen_bit(root):
    assert cv2.imwrite(str(root / "img" / "b.png"), made.image(5).astype(np.uint16) * 256)


def sixteen_bit_tiff(root):
    (root / "img" / "b.png").unlink()
    assert cv2.imwrite(str(root / "img" / "b.tif"), made.image(5).astype(np.uint16) * 256)


def truncated(root, folder="img", name="b.png", suffix=None):
    path = root / folder / name
    if suffix:
        path.unlink()
        path = path.with_suffix(suffix)
        save(path, Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


BAD_FILES = [
    (lambda root: (root / "mask" / "b.png").unlink(), "id without mask", "b"),
    (lambda root: (root / "img" / "b.png").unlink(), "id without image", "b"),
    (
        lambda root: made.write(root / "mask" / "b.png", np.full((24, 40), 99, np.uint8)),
        "unknown values",
        "b.png: 99",
    ),
    (
        lambda root: made.write(root / "mask" / "b.png", made.mask((24, 41))),
        "differ in size",
        "image 40x24, mask 41x24",
    ),
    (lambda root: made.write(root / "mask" / "b.png", made.image(1)), "mask with 3 channels", "mask/b.png"),
    (
        lambda root: made.write(root / "mask" / "b.png", made.mask().astype(np.uint16)),
        "mask with more than 8",
        "b.png",
    ),
    (
        lambda root: save(root / "mask" / "b.png", Image.fromarray(made.mask() > 3)),
        "black and white",
        "mask/b.png",
    ),
    (
        lambda root: save(root / "mask" / "b.png", Image.fromarray(made.mask()).convert("LA")),
        "2 channels",
        "b.png",
    ),
    (sixteen_bit, "more than 8 bits per channel", "img/b.png"),
    (sixteen_bit_tiff, "more than 8 bits per channel", "img/b.tif"),
    (lambda root: replace_image(root, "b", RGB.convert("CMYK"), ".jpg"), "image is CMYK", "img/b.jpg"),
    (lambda root: replace_image(root, "b", RGB.convert("CMYK"), ".tif"), "image is CMYK", "img/b.tif"),
    (lambda root: replace_image(root, "b", RGB.convert("RGBA")), "RGB with alpha", "img/b.png"),
    (lambda root: replace_image(root, "b", RGB.convert("L")), "image is grey", "img/b.png"),
    (lambda root: replace_image(root, "b", RGB.convert("P")), "palette image", "img/b.png"),
    (lambda root: (root / "img" / "b.png").write_bytes(b""), "unreadable file", "img/b.png"),
    (lambda root: (root / "mask" / "b.png").write_text("no image"), "unreadable file", "mask/b.png"),
    (truncated, "truncated file", "img/b.png"),
    (lambda root: truncated(root, suffix=".jpg"), "truncated file", "img/b.jpg"),
    (lambda root: truncated(root, suffix=".tif"), "file", "img/b.tif"),
    (lambda root: truncated(root, "mask"), "truncated file", "mask/b.png"),
]


@pytest.mark.parametrize(("spoil", "problem", "where"), BAD_FILES)
def test_bad_file(root, spoil, problem, where):
    spoil(root)
    text = problems_of(made.config(root))
    assert problem in text
    assert where in text
    assert "(1 problem)" in text


@pytest.mark.parametrize(
    ("values", "devices", "problem"),
    [
        ({"data__val_fold": 9}, 1, "val (folds: -1, 0, 1, 2, 3, 4)"),
        ({"optim__batch_size": 8}, 1, "train: 7 tiles, batches of 8"),
        ({}, 8, "train: 7 tiles, 8 devices"),
    ],
)
def test_bad_splits(root, values, devices, problem):
    assert problem in problems_of(made.config(root, **values), devices)


def test_empty_training_split(tmp_path):
    made.published(tmp_path, {"a": 0, "b": -1})
    assert "train (folds: -1, 0)" in problems_of(made.config(tmp_path))


def test_class_that_never_occurs_in_training(root):
    for name in "bcdefgh":
        made.write(root / "mask" / f"{name}.png", np.full((24, 40), 3, np.uint8))
    text = problems_of(made.config(root))
    assert "class never occurs in training" in text
    assert "gland (raw 7, 9)" in text


def test_all_problems_come_in_one_table(root):
    (root / "mask" / "b.png").unlink()
    (root / "img" / "c.png").unlink()
    made.write(root / "mask" / "d.png", np.full((24, 40), 99, np.uint8))
    truncated(root, name="e.png")
    made.write(root / "mask" / "f.png", made.image(1))
    text = problems_of(made.config(root, optim__batch_size=50), devices=40)
    for part in (
        "id without mask",
        "id without image",
        "d.png: 99",
        "truncated",
        "3 channels",
        "batches of 50",
        "40 devices",
    ):
        assert part in text


def test_many_files_are_listed_to_twenty_and_counted(tmp_path):
    made.published(tmp_path, {f"tile{n:02d}": n % 3 for n in range(26)})
    for path in (tmp_path / "mask").iterdir():
        made.write(path, np.full((24, 40), 99, np.uint8))
    text = problems_of(made.config(tmp_path))
    assert "(26 problems)" in text
    assert "tile19.png: 99" in text
    assert "tile20.png" not in text
    assert "... and 6 more" in text
