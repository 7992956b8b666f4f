"""Compiled programs kept on disk, so that only the first run of a command on a machine compiles."""

import os
from pathlib import Path

import jax

#: Programs that compile faster than this are not worth a file.
SHORTEST_SECONDS = 1.0


def enable(folder: Path | None = None) -> Path:
    """Turns on JAX's persistent compilation cache; returns where it is.

    Args:
        folder: where; None means ``JAX_COMPILATION_CACHE_DIR`` if set, else ``sampath-jax/xla`` in the user's
            cache folder (``XDG_CACHE_HOME``, or ``~/.cache``).
    """
    folder = folder or default_folder()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST_SECONDS)
    return folder


def default_folder() -> Path:
    """Where compiled programs are kept unless told otherwise."""
    if chosen := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sampath-jax" / "xla"
