"""Augmentation: literals on small arrays, image and labels together, distributions as published."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampath_jax.config import base_config
from sampath_jax.data import augmentation
from sampath_jax.data.augmentation import DIHEDRAL, AugmentConfig, Placement, View, example_keys

augment = jax.jit(augmentation.augment, static_argnames="config")
apply_views = jax.jit(augmentation.apply_views)
draw_views = jax.jit(augmentation.draw_views, static_argnames=("size", "config"))
fixed_views = jax.jit(augmentation.fixed_views, static_argnames=("size", "config"))

PLAIN = AugmentConfig(color_probability=0.0)


def placement(top, left, height, width, *, rows=False, columns=False, turns=0):
    box = (jnp.array([float(v)]) for v in (top, left, height, width))
    return Placement(*box, jnp.array([rows]), jnp.array([columns]), jnp.array([turns], jnp.int32))


def place(labels, where):
    """Label map and a grey image of the same values through one placement."""
    image = np.repeat(labels[..., None], 3, axis=-1)
    images, out = apply_views(image[None], labels[None], View(where, None, None))
    return np.asarray(images[0, ..., 0]), np.asarray(out[0])


def keys(count, seed=0):
    return example_keys(seed, jnp.zeros(count, jnp.int32), jnp.arange(count, dtype=jnp.int32))


@pytest.fixture(scope="module")
def drawn():
    """10,000 draws on a canvas of 1000x1000, on which the published figures were measured."""
    with jax.numpy_dtype_promotion("strict"):
        views = draw_views(keys(10_000), (1000, 1000), AugmentConfig())
    return jax.tree.map(np.asarray, views)


NUMBERS = np.arange(15, dtype=np.uint8).reshape(3, 5)


@pytest.mark.parametrize(
    ("flips", "expected"),
    [
        ({}, [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14]]),
        ({"rows": True}, [[10, 11, 12, 13, 14], [5, 6, 7, 8, 9], [0, 1, 2, 3, 4]]),
        ({"columns": True}, [[4, 3, 2, 1, 0], [9, 8, 7, 6, 5], [14, 13, 12, 11, 10]]),
        ({"rows": True, "columns": True}, [[14, 13, 12, 11, 10], [9, 8, 7, 6, 5], [4, 3, 2, 1, 0]]),
        ({"turns": 2}, [[14, 13, 12, 11, 10], [9, 8, 7, 6, 5], [4, 3, 2, 1, 0]]),
    ],
)
def test_flips_and_the_half_turn(flips, expected):
    image, labels = place(NUMBERS, placement(0, 0, 3, 5, **flips))
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(image, expected)


def test_quarter_turn_on_a_square_canvas_is_counter_clockwise():
    image, labels = place(np.arange(4, dtype=np.uint8).reshape(2, 2), placement(0, 0, 2, 2, turns=1))
    np.testing.assert_array_equal(labels, [[1, 3], [0, 2]])
    np.testing.assert_array_equal(image, [[1, 3], [0, 2]])


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("columns", [False, True])
def test_flips_come_before_turns(turns, rows, columns):
    square = np.random.default_rng(0).integers(0, 256, (6, 6), dtype=np.uint8)
    flipped = square[:: -1 if rows else 1, :: -1 if columns else 1]
    image, labels = place(square, placement(0, 0, 6, 6, rows=rows, columns=columns, turns=turns))
    np.testing.assert_array_equal(labels, np.rot90(flipped, turns))
    np.testing.assert_array_equal(image, np.rot90(flipped, turns))


def test_quarter_turn_on_another_canvas_turns_the_crop_and_stretches_it():
    _, labels = place(np.arange(8, dtype=np.uint8).reshape(2, 4), placement(0, 1, 2, 1, turns=1))
    np.testing.assert_array_equal(labels, [[1, 1, 5, 5], [1, 1, 5, 5]])
    _, labels = place(np.arange(8, dtype=np.uint8).reshape(2, 4), placement(0, 1, 2, 1, turns=3))
    np.testing.assert_array_equal(labels, [[5, 5, 1, 1], [5, 5, 1, 1]])


def test_crop_is_enlarged():
    labels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    _, out = place(labels, placement(1, 2, 2, 3))
    np.testing.assert_array_equal(
        out,
        [[8, 8, 9, 9, 10, 10], [8, 8, 9, 9, 10, 10], [14, 14, 15, 15, 16, 16], [14, 14, 15, 15, 16, 16]],
    )
    image, _ = place(labels, placement(1, 2, 2, 3))
    np.testing.assert_array_equal(image[0], [8, 8.25, 8.75, 9.25, 9.75, 10])
    np.testing.assert_array_equal(image[:, 0], [8, 9.5, 12.5, 14])


@pytest.mark.parametrize("box", [(0, 0, 31, 47), (3, 9, 17, 20), (30, 0, 1, 5), (5, 46, 8, 1)])
def test_image_is_interpolated_as_published(box):
    image = np.random.default_rng(1).integers(0, 256, (31, 47, 3), dtype=np.uint8)
    top, left, height, width = box
    crop = image[top : top + height, left : left + width].astype(np.float32)
    expected = cv2.resize(crop, (47, 31), interpolation=cv2.INTER_LINEAR)
    out, _ = apply_views(image[None], image[None, ..., 0], View(placement(*box), None, None))
    np.testing.assert_allclose(out[0], expected, atol=2e-3)


def test_painted_masks_stay_aligned_to_the_pixel():
    """Stripes painted into the image lie exactly where the labels say, after any crop, flip and turn."""
    size = (40, 56)
    rows, columns = np.arange(size[0]) // 3 % 2, np.arange(size[1]) // 4 % 2
    labels = (rows[:, None] + 2 * columns[None]).astype(np.uint8)
    image = np.stack([255 * (labels & 1), 255 * (labels >> 1), 0 * labels], -1).astype(np.uint8)
    count = 64
    images = np.broadcast_to(image, (count, *image.shape))
    out, moved = augment(keys(count), images, np.broadcast_to(labels, (count, *size)), config=PLAIN)
    out, moved = np.asarray(out), np.asarray(moved)
    for channel, painted in ((0, moved & 1), (1, moved >> 1)):
        value = out[..., channel]
        tie = np.abs(value - 127.5) < 0.05
        assert tie.mean() < 0.05
        np.testing.assert_array_equal((value > 127.5)[~tie], (painted == 1)[~tie])


def test_same_key_same_view_whatever_the_batch():
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (3, 12, 20, 3), dtype=np.uint8)
    labels = rng.integers(0, 4, (3, 12, 20), dtype=np.uint8)
    config = AugmentConfig(stain=0.1)
    once = augment(keys(3), images, labels, config)
    again = augment(keys(3), images, labels, config)
    backwards = augment(keys(3)[::-1], images[::-1], labels[::-1], config)
    for a, b, c in zip(once, again, backwards, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c[::-1])
    assert once[0].dtype == jnp.float32
    assert once[1].dtype == jnp.uint8


def test_keys_depend_on_seed_epoch_and_index():
    def data(seed, epoch, index):
        one = example_keys(seed, jnp.array([epoch], jnp.int32), jnp.array([index], jnp.int32))
        return tuple(np.asarray(jax.random.key_data(one))[0])

    assert data(0, 1, 2) == data(0, 1, 2)
    assert len({data(0, 1, 2), data(0, 2, 1), data(1, 1, 2), data(0, 1, 3), data(0, 0, 2)}) == 5


def test_crop_areas_are_distributed_as_published(drawn):
    p = drawn.placement
    area = p.height * p.width / 1e6
    np.testing.assert_allclose(np.quantile(area, [0.05, 0.5, 0.95]), [0.119, 0.473, 0.856], atol=0.012)
    ratio = p.width / p.height
    assert area.min() > 0.078
    assert area.max() <= 1.0
    assert 0.745 < ratio.min() < ratio.max() < 1.34
    np.testing.assert_allclose(np.quantile(np.log(ratio), [0.25, 0.5, 0.75]), [-0.132, 0, 0.132], atol=0.01)
    for start, length in ((p.top, p.height), (p.left, p.width)):
        assert (start >= 0).all()
        assert (start + length <= 1000).all()
        np.testing.assert_allclose(np.mean(start / np.maximum(1000 - length, 1)), 0.5, atol=0.015)
        np.testing.assert_array_equal(start, np.round(start))


def test_flips_and_turns_are_distributed_as_published(drawn):
    p = drawn.placement
    kinds = np.bincount(2 * p.flip_rows + p.flip_columns, minlength=4) / 10_000
    np.testing.assert_allclose(kinds, 0.25, atol=0.015)
    turns = np.bincount(p.turns, minlength=4) / 10_000
    np.testing.assert_allclose(turns, [0.625, 0.125, 0.125, 0.125], atol=0.015)


def test_colours_are_distributed_as_published(drawn):
    amount, order = drawn.jitter
    changed = (amount != [1, 1, 1, 0]).any(-1)
    np.testing.assert_allclose(changed.mean(), 0.5, atol=0.015)
    low, high = amount[changed].min(0), amount[changed].max(0)
    np.testing.assert_allclose(low, [0.9, 0.9, 0.9, -0.1], atol=1e-3)
    np.testing.assert_allclose(high, [1.1, 1.1, 1.1, 0.1], atol=1e-3)
    np.testing.assert_allclose(amount.mean(0), [1, 1, 1, 0], atol=2e-3)
    assert len({tuple(o) for o in order}) == 24
    assert (np.sort(order, axis=-1) == np.arange(4)).all()


def test_settings_that_can_never_fit_fall_back_to_the_largest_centred_crop():
    config = AugmentConfig(crop_area=(1.0, 1.0), crop_ratio=(2.0, 2.0), turn_probability=0.0)
    p = draw_views(keys(4), (60, 60), config).placement
    boxes = np.stack([p.top, p.left, p.height, p.width], axis=1)
    np.testing.assert_array_equal(boxes, np.broadcast_to([15, 0, 30, 60], (4, 4)))


def test_no_view_of_a_long_canvas_is_stretched_beyond_the_ratio():
    p = draw_views(keys(2000), (300, 500), AugmentConfig()).placement
    odd = np.asarray(p.turns) % 2 == 1
    assert 0.1 < odd.mean() < 0.4
    rows, columns = np.where(odd, p.width, p.height), np.where(odd, p.height, p.width)
    stretch = (columns / rows) / (500 / 300)
    assert 0.74 < stretch.min() < stretch.max() < 1.36
    assert (np.asarray(p.top) + p.height <= 300).all()
    assert (np.asarray(p.left) + p.width <= 500).all()


def test_off_means_unchanged():
    image = np.random.default_rng(3).integers(0, 256, (2, 7, 9, 3), dtype=np.uint8)
    out, labels = augment(keys(2), image, image[..., 0], AugmentConfig(enabled=False))
    np.testing.assert_array_equal(out, image)
    np.testing.assert_array_equal(labels, image[..., 0])
    never = AugmentConfig((1.0, 1.0), (1.0, 1.0), 0.0, 0.0, 0.0)
    np.testing.assert_array_equal(augment(keys(2), image, image[..., 0], never)[0], image)


def test_config_is_read_and_can_be_a_static_argument():
    config = base_config()
    config.augment.stain = 0.2
    read = AugmentConfig.from_config(config.augment)
    assert read == AugmentConfig(stain=0.2)
    assert hash(read) == hash(AugmentConfig(stain=0.2))


def test_first_fixed_views_are_the_symmetries_of_the_tile():
    square = np.random.default_rng(4).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    batch = np.broadcast_to(square, (DIHEDRAL, *square.shape))
    views = fixed_views(keys(DIHEDRAL), jnp.arange(DIHEDRAL, dtype=jnp.int32), (6, 6), AugmentConfig())
    images, labels = apply_views(batch, batch[..., 0], views)
    expected = [np.rot90(side, k) for side in (square, square[:, ::-1]) for k in range(4)]
    np.testing.assert_allclose(images, expected, atol=1e-3)
    np.testing.assert_array_equal(labels, np.stack(expected)[..., 0])


def test_later_fixed_views_are_random_but_do_not_change():
    numbers = jnp.array([8, 9, 8], jnp.int32)
    same_tile = jnp.broadcast_to(keys(1), (3,))
    views = fixed_views(same_tile, numbers, (100, 150), AugmentConfig())
    heights = np.asarray(views.placement.height)
    assert heights[0] == heights[2] != heights[1]
    assert (
        np.asarray(fixed_views(keys(3), numbers, (100, 150), AugmentConfig()).placement.height) != heights
    )[1:].all()


def test_batches_are_augmented_where_they_lie():
    """Over two devices: the same numbers, and not one byte between the devices."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    by_batch = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (4, 16, 24, 3), dtype=np.uint8)
    labels = rng.integers(0, 4, (4, 16, 24), dtype=np.uint8)
    step = jax.jit(lambda k, i, x: augmentation.augment(k, i, x, AugmentConfig()), out_shardings=by_batch)
    arguments = jax.device_put((keys(4), images, labels), by_batch)
    text = step.lower(*arguments).compile().as_text()
    assert not any(word in text for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute"))
    for sharded, single in zip(
        step(*arguments), augment(keys(4), images, labels, AugmentConfig()), strict=True
    ):
        np.testing.assert_allclose(sharded, single, atol=1e-3)


def test_memory_stays_below_four_copies_of_the_batch():
    shape = (2, 128, 192)
    images, labels = jnp.zeros((*shape, 3), jnp.uint8), jnp.zeros(shape, jnp.uint8)
    compiled = augment.lower(keys(2), images, labels, AugmentConfig()).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * 4 * images.size
