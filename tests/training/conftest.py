"""One compilation of each program for all tests here: every `train` compiles anew, from one cache on disk."""

import os

import jax
import pytest

from tests.training.experiments import dataset


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory):
    """The folder of compiled programs, used by this process; pass `environment` to others."""
    folder = tmp_path_factory.mktemp("programs")
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.5,
        "jax_disable_most_optimizations": True,  # halves the compilation
    }
    before = {name: jax.config.values[name] for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield os.environ | {name.upper(): str(value) for name, value in settings.items()}
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """A data set of eighteen 64x48 tiles."""
    return dataset(tmp_path_factory.mktemp("tiles"))
