"""Strict mode for every test, two CPU devices so that sharding is never a no-op, and quick compilation."""

import os
import tempfile

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")

#: Most tests compile for longer than they compute. Commands that tests start inherit these as variables.
QUICK = {
    "jax_disable_most_optimizations": True,  # halves the compilation
    "jax_persistent_cache_min_compile_time_secs": 0.3,
}


def pytest_configure(config):
    """One folder of compiled programs for the session: pytest-xdist's workers inherit it."""
    if not hasattr(config, "workerinput"):
        config.programs = tempfile.TemporaryDirectory(prefix="programs-")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = config.programs.name
        os.environ.update({name.upper(): str(value) for name, value in QUICK.items()})
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    for name, value in QUICK.items():
        jax.config.update(name, value)


@pytest.fixture(autouse=True)
def optimised_at_full_size(request):
    """Where the computation takes longer than its compilation (marker `full`), all optimisations are on."""
    quick = "full" not in request.keywords
    jax.config.update("jax_disable_most_optimizations", quick)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(autouse=True)
def strict_dtypes(request):
    """Implicit dtype promotion is an error, except in code under optax (marker `optim`)."""
    with jax.numpy_dtype_promotion("standard" if "optim" in request.keywords else "strict"):
        yield
