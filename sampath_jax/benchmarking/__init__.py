"""What `python -m sampath_jax.benchmark` measures, and how: every subject in a process of its own."""
