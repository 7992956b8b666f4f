"""Strict mode for every test, and two CPU devices so that sharding is never a no-op."""

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def strict_dtypes(request):
    """Implicit dtype promotion is an error, except in code under optax (marker `optim`)."""
    with jax.numpy_dtype_promotion("standard" if "optim" in request.keywords else "strict"):
        yield
