"""Systems of the paper's table 1 that are not trained; run them with `python -m sampath_jax.baseline`."""
