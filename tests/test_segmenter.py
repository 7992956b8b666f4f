import subprocess
import sys

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sampath_jax
from sampath_jax.errors import InputError
from sampath_jax.models.sam_path import class_map
from sampath_jax.workdir import load_model
from tests.trained import CANVAS, workdir


@pytest.fixture(scope="module")
def segmenter():
    return sampath_jax.load(workdir())


def picture(size, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def test_tile_on_the_canvas_gets_the_models_class_map(segmenter):
    image = picture(CANVAS)
    labels = jax.jit(lambda model, images: class_map(model(images)[0], CANVAS))
    expected = labels(load_model(workdir()).model, jnp.asarray(image)[None])[0]
    expected = np.array([255, 7, 3])[np.asarray(expected)]
    mask, probabilities = segmenter.predict(image)
    assert (mask == expected).mean() >= 0.999
    assert probabilities.shape == (*CANVAS, 2)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(mask, np.where(probabilities[..., 0] >= probabilities[..., 1], 7, 3))


@pytest.mark.parametrize("size", [(20, 33), (55, 70), (200, 90), (30, 300), (1, 1)])
def test_any_size_in_raw_values(segmenter, size):
    mask, probabilities = segmenter.predict(picture(size))
    assert mask.shape == size
    assert mask.dtype == np.uint8
    assert probabilities.shape == (*size, 2)
    assert set(np.unique(mask)) <= {7, 3}


def test_large_image_equals_its_windows_away_from_their_borders(segmenter):
    image = picture((150, 200))
    _, whole = segmenter.predict(image)
    _, corner = segmenter.predict(image[: CANVAS[0], : CANVAS[1]])
    np.testing.assert_allclose(whole[:30, :40], corner[:30, :40], atol=1e-6)


def test_reads_files_and_shows_overlays(segmenter, tmp_path):
    image, path = picture((40, 60)), str(tmp_path / "tile.png")
    cv2.imwrite(path, image[..., ::-1])
    mask, probabilities = segmenter.predict(path)
    np.testing.assert_array_equal(probabilities, segmenter.predict(image)[1])
    drawn = segmenter.overlay(path, mask)
    assert drawn.mode == "RGB"
    assert drawn.height > 40


def test_features_of_the_encoders(segmenter):
    features = segmenter.encode(picture((70, 90)))
    assert features.shape == (2, 3, 48)
    assert features.dtype == np.float32
    assert features.std() > 0


def test_names_and_colours(segmenter):
    assert segmenter.names == ("gland", "stroma")
    assert segmenter.colors == ("#d55e00", "#0072b2")


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((4, 4, 4), np.uint8), "alpha"),
        (np.zeros((4, 4), np.uint8), "grey"),
        (np.zeros((4, 4, 3), np.uint16), "uint16"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
    ],
)
def test_other_arrays_are_refused(segmenter, image, says):
    with pytest.raises(InputError, match=says):
        segmenter.predict(image)


def test_importing_the_package_does_not_import_jax():
    code = "import sys, sampath_jax; sampath_jax.load; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
