import numpy as np
import pytest

from sampath_jax import drawing
from sampath_jax.evaluation import overlays

NAMES, COLORS = ("gland", "stroma"), ("#ff0000", "#0000ff")


def scene(size):
    rng = np.random.default_rng(0)
    image = rng.integers(100, 256, (*size, 3)).astype(np.uint8)
    y, x = np.mgrid[: size[0], : size[1]]
    labels = ((y - size[0] / 2) ** 2 + (x - size[1] / 3) ** 2 < (size[1] / 4) ** 2) + 1
    labels[:20, :30] = 0
    return image, labels.astype(np.uint8)


@pytest.mark.parametrize("strip", [7, 64])
def test_strips_do_not_show(monkeypatch, strip):
    image, labels = scene((300, 410))
    monkeypatch.setattr(overlays, "STRIP", strip)
    drawn = np.concatenate(list(overlays.overlay_rows(image, labels, NAMES, COLORS)))
    np.testing.assert_array_equal(drawn[:300], drawing.overlay(image, labels, COLORS, overlays.OPACITY))
    assert drawn.shape == (*overlays.overlay_size(image, NAMES, COLORS), 3)


def test_narrow_images_get_a_legible_legend():
    image, labels = scene((64, 40))
    drawn = np.concatenate(list(overlays.overlay_rows(image, labels, NAMES, COLORS)))
    assert drawn.shape == (*overlays.overlay_size(image, NAMES, COLORS), 3)
    assert (drawn[:64, 40:] == 255).all()
    assert (drawn[64:] == (255, 0, 0)).all(-1).any()
    assert (drawn[64:] == (0, 0, 255)).all(-1).any()
