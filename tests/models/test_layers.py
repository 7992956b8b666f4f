"""The layers that encoders and decoder share."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from sampath_jax.models.layers import gelu


@pytest.mark.parametrize(("dtype", "rtol", "atol"), [(jnp.float32, 3e-7, 5e-7), (jnp.bfloat16, 4e-3, 1e-6)])
def test_gelu_is_exact(dtype, rtol, atol):
    """Against float64; in bfloat16 only the result is rounded, so that small values keep their digits."""
    x = jnp.linspace(-6, 6, 1001).astype(dtype)
    exact = np.asarray(x, np.float64)
    exact = 0.5 * exact * (1 + scipy.special.erf(exact / np.sqrt(2)))
    assert gelu(x).dtype == dtype
    np.testing.assert_allclose(np.asarray(gelu(x), np.float64), exact, rtol=rtol, atol=atol)
