import errno
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from sampath_jax import predict
from sampath_jax.errors import InputError
from sampath_jax.evaluation.png import PngWriter
from sampath_jax.segmenter import Segmenter
from tests.trained import workdir

SIZES = {"a": (48, 64), "b": (30, 44), "c": (130, 170)}


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, (name, size) in enumerate(SIZES.items()):
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{name}.png"), cv2.resize(coarse, size[::-1]))
    return folder


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """Loading and compiling takes seconds and is tested in test_segmenter.py."""
    with pytest.MonkeyPatch.context() as patch:
        segmenter = Segmenter.load(workdir())
        patch.setattr(Segmenter, "load", lambda *_, **__: segmenter)
        yield


def run(source, output, *options):
    return predict.main(
        ["--workdir", str(workdir()), "--input", str(source), "--output", str(output), *options]
    )


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_masks_in_raw_values_at_own_size(images, tmp_path):
    assert run(images, tmp_path / "out") == 0
    for name, size in SIZES.items():
        mask = read(tmp_path / "out" / f"{name}.png")
        assert (mask.shape, mask.dtype) == (size, np.uint8)
        assert set(np.unique(mask)) <= {7, 3}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png"]


def test_a_single_file_with_overlay_and_probabilities(images, tmp_path):
    out = tmp_path / "out"
    assert run(images / "c.png", out, "--overlay", "--probabilities") == 0
    mask, (gland, stroma) = (
        read(out / "c.png"),
        (read(out / "probability" / name / "c.png") for name in ("gland", "stroma")),
    )
    assert gland.dtype == np.uint16
    np.testing.assert_allclose(gland.astype(int) + stroma, 65535, atol=1)
    sure = np.abs(gland.astype(int) - stroma) > 2
    np.testing.assert_array_equal(mask[sure], np.where(gland > stroma, 7, 3)[sure])
    overlay = read(out / "overlay" / "c.png")
    assert overlay.shape[0] > SIZES["c"][0]
    assert not (out / "a.png").exists()


def test_goes_on_where_it_stopped(images, tmp_path, capsys):
    out = tmp_path / "out"
    run(images / "a.png", out)
    (out / "a.png").write_bytes(b"kept as it is")
    (out / ".b.png.part").write_bytes(b"left by a kill")
    capsys.readouterr()
    assert run(images, out) == 0
    assert "2 predicted, 1 were there already" in capsys.readouterr().out
    assert (out / "a.png").read_bytes() == b"kept as it is"
    assert not (out / ".b.png.part").exists()
    assert run(images, out, "--overwrite") == 0
    assert read(out / "a.png").shape == SIZES["a"]


def test_asking_for_overlays_later_makes_them(images, tmp_path):
    run(images / "a.png", tmp_path / "out")
    assert run(images, tmp_path / "out", "--overlay") == 0
    assert len(list((tmp_path / "out" / "overlay").iterdir())) == len(SIZES)


def test_bad_images_are_counted_and_the_others_finished(images, tmp_path, capsys):
    rgba, grey = Image.new("RGBA", (9, 9)), Image.new("L", (9, 9))
    rgba.save(images / "alpha.png")
    grey.save(images / "grey.png")
    cv2.imwrite(str(images / "deep.png"), np.zeros((9, 9, 3), np.uint16))
    (images / "text.png").write_text("no image")
    whole = (images / "a.png").read_bytes()
    (images / "cut.png").write_bytes(whole[: len(whole) // 2])
    (images / "empty.jpg").write_bytes(b"")
    assert run(images, tmp_path / "out") == predict.SOME_FAILED
    output = capsys.readouterr()
    assert "3 predicted, 6 failed" in output.out
    for name, says in {
        "alpha.png": "RGB with alpha",
        "grey.png": "grey",
        "deep.png": "more than 8 bits",
        "text.png": "unreadable",
        "cut.png": "truncated",
        "empty.jpg": "unreadable",
    }.items():
        (line,) = [line for line in output.err.splitlines() if name in line]
        assert says in line
    assert sorted(p.stem for p in (tmp_path / "out").iterdir()) == ["a", "b", "c"]


def test_unusable_folders_are_refused(images, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "none").mkdir()
    for source, output, says in [
        (tmp_path / "missing", tmp_path / "out", "no file or folder"),
        (tmp_path / "none", tmp_path / "out", "holds no image"),
        (images, tmp_path / "file", "is a file, not a folder"),
        (images, tmp_path / "file" / "out", "is a file, not a folder"),
        (images, images, "would replace"),
    ]:
        with pytest.raises(InputError, match=says):
            run(source, output)
    Image.new("RGB", (9, 9)).save(images / "a.jpg")
    with pytest.raises(InputError, match="rename one"):
        run(images, tmp_path / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(images, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(InputError, match="cannot write"):
        run(images, tmp_path / "locked" / "out")


def test_full_disk_is_one_message(images, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PngWriter, "close", full)
    with pytest.raises(InputError, match="No space left"):
        run(images, tmp_path / "out")
    assert not (tmp_path / "out" / "a.png").exists()


@pytest.mark.parametrize("option", ["--window=3", "--overlap=0.9", "--batch-size=0", "--what"])
def test_impossible_options(images, tmp_path, option):
    with pytest.raises(SystemExit) as exit_:
        run(images, tmp_path / "out", option)
    assert exit_.value.code == 2
