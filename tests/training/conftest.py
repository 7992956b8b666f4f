"""The data set that the tests of training share."""

import pytest

from tests.training.experiments import dataset


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """A data set of eighteen 64x48 tiles."""
    return dataset(tmp_path_factory.mktemp("tiles"))
