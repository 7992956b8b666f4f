"""Strict mode for every test, and two CPU devices so that sharding is never a no-op."""

import os

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def strict_dtypes(request):
    """Implicit dtype promotion is an error, except in code under optax (marker `optim`)."""
    with jax.numpy_dtype_promotion("standard" if "optim" in request.keywords else "strict"):
        yield


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
