"""Encoder features of images that do not change, kept in memory, then on disk, both bounded.

The first features that fit are kept and none is ever replaced: validation visits every tile in the same order
every epoch, where replacing the least recently used would miss every time, and training visits views at
random, where all are as likely to come again.
"""

import contextlib
import hashlib
import os
import threading
import time
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from numpy.typing import DTypeLike

from sampath_jax import console

GB = 10**9
#: Bytes that `np.save` writes before the numbers.
FILE_HEADER = 128
#: Seconds after which a file that is still being written belongs to a run that was killed.
STALE_SECONDS = 3600


class Room:
    """Bytes that caches may still fill, in memory and in a folder. Threads may share it.

    Args:
        folder: for the part on disk; created when first needed. Several runs may share it.
        memory: bytes.
        disk: bytes.
    """

    def __init__(self, folder: Path, memory: int, disk: int):
        self.folder, self.memory, self.disk = Path(folder), memory, disk
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: Path, memory_gb: float, disk_gb: float, processes: int = 1) -> "Room":
        """What is left of the given bounds. Removes what killed runs left half written.

        Args:
            folder: for the part on disk.
            memory_gb: how much to keep in memory.
            disk_gb: how much the whole folder may hold.
            processes: that fill the folder at the same time, each an equal part of what is left.
        """
        for path in Path(folder).glob("*/*.tmp"):
            with contextlib.suppress(FileNotFoundError):  # complete by now, or removed by another process
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()
        used = sum(path.stat().st_size for path in Path(folder).glob("*/*.npy"))
        return cls(folder, int(memory_gb * GB), max(0, int(disk_gb * GB) - used) // processes)

    def reserve(self, wanted: int) -> "Room":
        """Splits off room for `wanted` bytes, or for as many as there are: memory, then disk."""
        with self._lock:
            memory = min(self.memory, wanted)
            disk = min(self.disk, wanted - memory)
            self.memory, self.disk = self.memory - memory, self.disk - disk
        return Room(self.folder, memory, disk)

    def take_memory(self, size: int) -> bool:
        """Whether there was room for `size` bytes in memory; they are counted then."""
        with self._lock:
            fits = size <= self.memory
            self.memory -= size if fits else 0
        return fits

    def take_disk(self, size: int) -> bool:
        """Whether there was room for `size` bytes on disk; they are counted then."""
        with self._lock:
            fits = size <= self.disk
            self.disk -= size if fits else 0
        return fits


class FeatureCache:
    """Arrays of one shape and type by key, valid for one `fingerprint`. One thread writes, any may read.

    Args:
        room: that this cache may fill; others may fill it too.
        fingerprint: of everything beside the key that the arrays depend on. Files of another are never read.
        shape: of every array.
        dtype: of every array.
    """

    def __init__(self, room: Room, fingerprint: str, shape: tuple[int, ...], dtype: DTypeLike):
        self.room, self.shape, self.dtype = room, shape, np.dtype(dtype)
        identity = f"{fingerprint} {shape} {self.dtype.name}"
        self._folder = room.folder / hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._memory: dict[str, np.ndarray] = {}

    @property
    def item_bytes(self) -> int:
        """Of one array."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def file_bytes(self) -> int:
        """Of one array on disk."""
        return self.item_bytes + FILE_HEADER

    @property
    def stored(self) -> int:
        """Arrays on disk, by this run and earlier ones."""
        return sum(1 for _ in self._folder.glob("*.npy"))

    def reserve(self, arrays: int) -> None:
        """Keeps room for `arrays` arrays from others that fill the same."""
        self.room = self.room.reserve(max(0, arrays - self.stored) * self.file_bytes)

    @property
    def capacity(self) -> int:
        """How many arrays can be kept: those on disk, and as many as there is room for."""
        left = self.room.memory // self.item_bytes + self.room.disk // self.file_bytes
        return self.stored + len(self._memory) + left

    def get(self, key: str) -> Shaped[np.ndarray, "..."] | None:
        """The array of `key`, or None if it is not kept (or its file was damaged or removed)."""
        if key in self._memory:
            return self._memory[key]
        path = self._path(key)
        try:
            array = np.load(path).view(self.dtype)
            if array.shape == self.shape:
                return array
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError):
            pass
        path.unlink(missing_ok=True)
        return None

    def put(self, key: str, array: Shaped[np.ndarray, "..."]) -> None:
        """Keeps `array` if there is room and no other is kept under `key`."""
        if key in self._memory or self._path(key).is_file():
            return
        if self.room.take_memory(self.item_bytes):
            self._memory[key] = array
        elif self.room.take_disk(self.file_bytes):
            self._write(self._path(key), array)

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"

    def _write(self, path: Path, array: np.ndarray) -> None:
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                # `np.save` does not know bfloat16
                np.save(file, array.view(f"u{array.dtype.itemsize}"))
            os.replace(temporary, path)
        except OSError as error:
            console.warning(f"no more features are cached in {self._folder}: {error.strerror}")
            temporary.unlink(missing_ok=True)
            self.room.disk = 0
