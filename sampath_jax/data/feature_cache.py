"""Encoder features of tiles that do not change, kept in memory, then on disk, both bounded.

The first features that fit are kept and none is ever replaced: validation visits every tile in the same order
every epoch, where replacing the least recently used would miss every time.
"""

import hashlib
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from sampath_jax import console

GB = 10**9


class FeatureCache:
    """Arrays by key, valid for one `fingerprint`.

    Args:
        folder: for the part on disk; created when first needed. Several runs may share it.
        memory_gb: how much to keep in memory.
        disk_gb: how much the whole folder may hold.
        fingerprint: of everything beside the key that the arrays depend on. Files of another are never read.
    """

    def __init__(self, folder: Path, memory_gb: float, disk_gb: float, fingerprint: str):
        self._folder = Path(folder) / hashlib.sha256(fingerprint.encode()).hexdigest()[:16]
        self._memory: dict[str, np.ndarray] = {}
        self._memory_left = int(memory_gb * GB)
        # `np.save` does not know bfloat16, so arrays are saved as integers: <key's hash>.<dtype>.npy
        self._files = {path.name.split(".")[0]: path for path in self._folder.glob("*.npy")}
        used = sum(path.stat().st_size for path in Path(folder).glob("*/*.npy"))
        self._disk_left = int(disk_gb * GB) - used

    def get(self, key: str) -> Shaped[np.ndarray, "..."] | None:
        """The array of `key`, or None if it is not kept (or its file was damaged or removed)."""
        if key in self._memory:
            return self._memory[key]
        path = self._files.get(_digest(key))
        if path is None:
            return None
        try:
            return np.load(path).view(jnp.dtype(path.name.split(".")[1]))
        except (OSError, ValueError, EOFError):
            del self._files[_digest(key)]
            return None

    def put(self, key: str, array: Shaped[np.ndarray, "..."]) -> None:
        """Keeps `array` if there is room and no other is kept under `key`."""
        if key in self._memory or _digest(key) in self._files:
            return
        if array.nbytes <= self._memory_left:
            self._memory[key] = array
            self._memory_left -= array.nbytes
        elif array.nbytes <= self._disk_left:
            self._write(key, array)

    def _write(self, key: str, array: np.ndarray) -> None:
        path = self._folder / f"{_digest(key)}.{array.dtype.name}.npy"
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                np.save(file, array.view(f"u{array.dtype.itemsize}"))
            os.replace(temporary, path)
        except OSError as error:
            console.warning(f"no more features are cached in {self._folder}: {error.strerror}")
            temporary.unlink(missing_ok=True)
            self._disk_left = 0
            return
        self._files[_digest(key)] = path
        self._disk_left -= path.stat().st_size


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]
