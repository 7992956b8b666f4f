"""The stream with a stand-in model that reads the classes off the pixels."""

import cv2
import numpy as np
from scipy.special import softmax

from sampath_jax.evaluation.sliding import Layout, best_labels, largest
from sampath_jax.evaluation.stream import Job, predict_stream

WINDOW = (32, 48)


class Reader:
    """A model that takes red for class 1 and green for class 2, in planes with room for larger images."""

    def __init__(self):
        self.batches = []

    def __call__(self, images):
        self.batches.append(len(images))
        planes = np.full((4, 2, *largest(WINDOW)), np.nan, np.float32)  # always a full batch
        for row, image in enumerate(images):
            colors = np.moveaxis(image[..., :2].astype(np.float32), -1, 0)
            planes[row, :, : image.shape[0], : image.shape[1]] = softmax(colors / 20, axis=0)
        return planes


def picture(size, seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (3, 3, 3)).astype(np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def run(images, model):
    maps, order = [[] for _ in images], []
    jobs = (
        Job(image, lambda rows, i=i: maps[i].append(rows.copy()), lambda i=i: order.append(i))
        for i, image in enumerate(images)
    )
    predict_stream(jobs, model, 4, 2, lambda size: Layout.cover(size, WINDOW))
    return [np.concatenate(rows, 1) for rows in maps], order


def test_every_image_at_its_own_size_whatever_shares_its_batch():
    sizes = [(32, 48), (20, 17), (90, 130), (32, 48), (10, 200)]
    images = [picture(size, i) for i, size in enumerate(sizes)]
    model = Reader()
    together, order = run(images, model)
    assert [m.shape[1:] for m in together] == sizes
    assert order == [0, 1, 2, 3, 4]
    assert all(count == 4 for count in model.batches[:-1])
    for image, probabilities in zip(images, together, strict=True):
        (alone,), _ = run([image], Reader())
        np.testing.assert_array_equal(probabilities, alone)
        truth = np.where(image[..., 1] > image[..., 0], 2, 1)
        sure = np.abs(image[..., 1].astype(int) - image[..., 0]) > 60
        assert (best_labels(probabilities) == truth)[sure].mean() > 0.9


def test_no_image_is_taken_before_it_is_needed():
    taken = []

    def jobs():
        for i in range(40):
            taken.append(i)
            yield Job(picture(WINDOW, i), lambda rows: None, lambda: finished.append(len(taken)))

    finished = []
    predict_stream(jobs(), Reader(), 4, 2, lambda size: Layout.cover(size, WINDOW))
    assert len(finished) == 40
    assert max(ahead - i for i, ahead in enumerate(finished)) <= 8


def test_nothing_to_do():
    assert run([], Reader()) == ([], [])
