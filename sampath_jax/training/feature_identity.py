"""What cached features depend on, beside their key: features of anything else are never used."""

import hashlib
from pathlib import Path

import jax
from ml_collections import ConfigDict

import sampath_jax
from sampath_jax.config import data_seed
from sampath_jax.data.source import TileSource
from sampath_jax.models.config import SamPathConfig


def identity_of_tiles(frozen_fingerprint: str, config: ConfigDict, source: TileSource) -> str:
    """Of features of whole tiles.

    Beside weights, sizes and tiles it names what decides the last bits: a run that goes on elsewhere
    does not mix features of two kinds of device.
    """
    model = SamPathConfig.from_config(config)
    encoding = (config.data.canvas, model.input_size, model.encoders, model.encoder_dtype, model.attention)
    program = (sampath_jax.__version__, jax.__version__, jax.devices()[0].device_kind, config.mesh.model)
    return f"{frozen_fingerprint} {encoding} {program} {tiles_on_disk(source)}"


def identity_of_views(frozen_fingerprint: str, config: ConfigDict, source: TileSource) -> str:
    """Of features of fixed views: also the seed, the augmentation and the number of crops."""
    views = (data_seed(config), config.data.cache_crops, sorted(config.augment.items()))
    return f"{identity_of_tiles(frozen_fingerprint, config, source)} {views}"


def tiles_on_disk(source: TileSource) -> str:
    """Changes when a tile's file changes, without reading it; in a prepared set, when any file does."""
    digest = hashlib.sha256()
    states = {path: _state(path) for path in {tile.image for tile in source.tiles}}
    for tile in source.tiles:
        digest.update(f"{tile.id} {states[tile.image]}\n".encode())
    return digest.hexdigest()


def _state(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of the file, or of every file in the folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    found = [(file.name, file.stat()) for file in files if file.is_file()]
    return [(name, status.st_size, status.st_mtime_ns) for name, status in found]
