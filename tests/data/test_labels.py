"""Classes by name: raw values to labels and back, and specs that make no sense."""

import numpy as np
import pytest

from configs import labels as ready
from sampath_jax.data.labels import LabelSpec
from sampath_jax.errors import InputError
from tests.data.made import CLASSES

SPEC = LabelSpec.from_entries(CLASSES, (0, 5))


def test_labels_follow_the_order_of_the_classes():
    raw = np.array([[7, 3, 0], [9, 5, 7]], np.uint8)
    np.testing.assert_array_equal(SPEC.to_labels(raw), [[1, 2, 0], [1, 0, 1]])
    assert SPEC.names == ("gland", "stroma")
    assert SPEC.num_classes == 2
    assert SPEC.colors[0] == "#00aa00"


def test_raw_values_are_the_first_of_each_class():
    labels = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    np.testing.assert_array_equal(SPEC.to_raw(labels), [[0, 7, 3], [3, 7, 0]])
    unlabelled = LabelSpec.from_entries(CLASSES, (5,)).to_raw(labels)
    assert unlabelled[0, 0] == 5


def test_unknown_value_is_named_with_the_known_ones():
    raw = np.array([[7, 3], [200, 4]], np.uint8)
    with pytest.raises(InputError, match=r"a\.png holds value 4, 200; .* know 0, 3, 5, 7, 9"):
        SPEC.to_labels(raw, "a.png")


def test_255_can_be_ignored_and_can_be_a_class():
    """The published code wraps 255 around to 'unlabelled'; here it means what the config says."""
    raw = np.array([[255, 1]], np.uint8)
    ignored = LabelSpec.from_entries(({"name": "gland", "values": (1,)},), (255,))
    np.testing.assert_array_equal(ignored.to_labels(raw), [[0, 1]])
    tissue = LabelSpec.from_entries(({"name": "a", "values": (255,)}, {"name": "b", "values": (1,)}), ())
    np.testing.assert_array_equal(tissue.to_labels(raw), [[1, 2]])
    np.testing.assert_array_equal(tissue.to_raw(tissue.to_labels(raw)), raw)


def test_counts_of_raw_values_add_up_per_label():
    counts = np.zeros(256, int)
    counts[[7, 9, 3, 5]] = 10, 1, 20, 4
    np.testing.assert_array_equal(SPEC.count(counts), [4, 11, 20])


@pytest.mark.parametrize(
    ("classes", "ignored", "message"),
    [
        ((), (), "there are 0 classes"),
        (({"name": "a", "values": ()},), (), "a has no raw value"),
        (({"name": "a", "values": (1,)}, {"name": "b", "values": (2, 1)}), (), "1 means both a and b"),
        (({"name": "a", "values": (1,)},), (1,), "1 means both a and config.data.ignored"),
        (({"name": "a", "values": (300,)},), (), "raw value 300"),
        (({"name": "a", "values": (1,)}, {"name": "a", "values": (2,)}), (), "two classes are called 'a'"),
        (({"name": "a", "values": (1,), "color": "red"},), (), "colour 'red'"),
        (({"values": (1,)},), (), "needs a name and values"),
        (({"name": "a", "values": 1},), (), "needs a name and values"),
    ],
)
def test_impossible_specs_are_refused(classes, ignored, message):
    with pytest.raises(InputError, match=message):
        LabelSpec.from_entries(classes, ignored)


def test_bcss_knows_all_22_codes_and_ignores_two():
    spec = LabelSpec.from_entries(*ready.BCSS)
    assert spec.known == tuple(range(22))
    labels = dict(enumerate(spec.table[:22].tolist()))
    assert [raw for raw, label in labels.items() if label == 0] == [0, 7]
    assert [raw for raw, label in labels.items() if label == 1] == [1, 19, 20]
    assert [raw for raw, label in labels.items() if label == 3] == [3, 10, 11]
    assert spec.names == LabelSpec.from_entries(*ready.BCSS_PUBLISHED).names


def test_crag_is_background_and_gland():
    spec = LabelSpec.from_entries(*ready.CRAG)
    np.testing.assert_array_equal(spec.to_labels(np.array([[0, 1, 255]], np.uint8)), [[1, 2, 0]])
