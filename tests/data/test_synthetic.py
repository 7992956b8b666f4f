"""Synthetic data sets: real files in two layouts, the same for a seed, with learnable classes."""

import csv

import cv2
import numpy as np
import pytest

from sampath_jax.data import synthetic
from sampath_jax.errors import InputError


def read(path):
    """An image file as it is stored; colour as RGB."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return pixels[..., ::-1] if pixels.ndim == 3 else pixels


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic")
    synthetic.write_dataset(root, count=9, size=(96, 160), seed=3)
    return root


def test_published_layout(dataset):
    rows = list(csv.DictReader((dataset / "cv.csv").open()))
    assert [(row["img_id"], row["fold"]) for row in rows[2:5]] == [
        ("SYN-0000_1_0", "1"),
        ("SYN-0001_0_0", "0"),
        ("SYN-0001_0_1", "0"),
    ]
    assert {row["fold"] for row in rows} == {"-1", "0", "1"}
    for row in rows:
        image, mask = (
            read(dataset / "img" / f"{row['img_id']}.png"),
            read(dataset / "mask" / f"{row['img_id']}.png"),
        )
        assert image.shape == (96, 160, 3)
        assert mask.shape == (96, 160)
        assert image.dtype == mask.dtype == np.uint8


def test_masks_hold_every_class_and_some_have_unlabelled_corners(dataset):
    masks = [read(path) for path in sorted((dataset / "mask").glob("*.png"))]
    known = {value for item in synthetic.CLASSES for value in item["values"]}
    assert all(set(np.unique(mask)) - set(synthetic.IGNORED) == known for mask in masks)
    corners = [[mask[y, x] for y in (0, -1) for x in (0, -1)] for mask in masks]
    unlabelled = [mask == 0 for mask in masks]
    assert 0 < sum(map(np.any, unlabelled)) < len(masks)
    assert all(0 in at for at, where in zip(corners, unlabelled, strict=True) if where.any())


def test_same_seed_same_tiles_whatever_the_count(dataset, tmp_path):
    synthetic.write_dataset(tmp_path / "again", count=10, size=(96, 160), seed=3)
    synthetic.write_dataset(tmp_path / "other", count=9, size=(96, 160), seed=4)
    name = "img/SYN-0001_0_1.png"
    np.testing.assert_array_equal(read(dataset / name), read(tmp_path / "again" / name))
    assert (read(dataset / name) != read(tmp_path / "other" / name)).mean() > 0.9


def test_classes_have_their_own_colours(dataset):
    """Nearest mean colour of a 9x9 neighbourhood, learned on even tiles, beats chance by far."""
    images = [read(path).astype(np.float32) for path in sorted((dataset / "img").glob("*.png"))]
    masks = [read(path) for path in sorted((dataset / "mask").glob("*.png"))]
    smooth = np.stack([cv2.blur(image, (9, 9)) for image in images])
    labels = np.stack(masks)
    train, test = slice(0, None, 2), slice(1, None, 2)
    centres = np.stack([smooth[train][labels[train] == value].mean(0) for value in (1, 2, 3, 4)])
    distance = np.linalg.norm(smooth[test][..., None, :] - centres, axis=-1)
    labelled = labels[test] > 0
    accuracy = (distance.argmin(-1) + 1 == labels[test])[labelled].mean()
    assert accuracy > 0.5
    assert np.linalg.norm(centres[2] - centres[1]) > 30  # lymphocytes against stroma, grey levels


def test_one_slide_shares_its_stain(tmp_path):
    synthetic.write_dataset(tmp_path, count=12, size=64, tiles_per_slide=4)
    stroma = {}
    for path in sorted((tmp_path / "img").glob("*.png")):
        where = read(tmp_path / "mask" / path.name) == 2
        stroma.setdefault(path.name.split("_")[0], []).append(read(path)[where].mean(0))
    spread_within = np.mean([np.std(tiles, axis=0).mean() for tiles in stroma.values()])
    spread_between = np.std([np.mean(tiles, axis=0) for tiles in stroma.values()], axis=0).mean()
    assert len(stroma) == 3
    assert spread_between > spread_within


@pytest.mark.parametrize("image_format", ["jpg", "tif"])
def test_image_formats(tmp_path, image_format):
    synthetic.write_dataset(tmp_path, count=1, size=(32, 48), image_format=image_format)
    assert read(tmp_path / "img" / f"SYN-0000_0_0.{image_format}").shape == (32, 48, 3)
    assert read(tmp_path / "mask" / "SYN-0000_0_0.png").shape == (32, 48)


def test_crag_numbers_its_glands(tmp_path):
    synthetic.write_crag(tmp_path, train=2, test=1, size=(200, 230))
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    assert names == [
        "train/Annotation/train_1.png",
        "train/Annotation/train_2.png",
        "train/Images/train_1.png",
        "train/Images/train_2.png",
        "valid/Annotation/test_1.png",
        "valid/Images/test_1.png",
    ]
    mask = read(tmp_path / "train/Annotation/train_1.png")
    numbers = np.unique(mask)
    assert mask.shape == (200, 230)
    assert len(numbers) > 2
    np.testing.assert_array_equal(numbers, np.arange(len(numbers)))
    assert all(cv2.connectedComponents((mask == n).astype(np.uint8))[0] == 2 for n in numbers[1:])


@pytest.mark.parametrize("wrong", [{"count": 0}, {"size": (8, 64)}, {"image_format": "bmp"}])
def test_impossible_requests_are_refused(tmp_path, wrong):
    with pytest.raises(InputError):
        synthetic.write_dataset(tmp_path, **wrong)


def test_command(tmp_path, capsys):
    synthetic.main(["--output", str(tmp_path / "a"), "--count", "2", "--size", "40", "56"])
    synthetic.main(["--output", str(tmp_path / "b"), "--count", "2", "--size", "64", "--layout", "crag"])
    assert read(tmp_path / "a/img/SYN-0001_0_0.png").shape == (40, 56, 3)
    assert (tmp_path / "b/train/Images/train_2.png").is_file()
