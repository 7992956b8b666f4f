"""Experiments: one `get_config()` per file."""
