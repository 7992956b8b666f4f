"""Promptable SAM from a folder of converted weights."""

from pathlib import Path

from sampath_jax.errors import InputError
from sampath_jax.models.abstract import abstract
from sampath_jax.models.config import SamEncoderConfig
from sampath_jax.models.sam import Sam
from sampath_jax.trees import flatten
from sampath_jax.weights import fill, read_weights


def load_sam_model(folder: Path, *, attention: str = "auto") -> Sam:
    """SAM as `convert.sam` wrote it; its size is in the folder's `weights.json`.

    Raises:
        InputError: no such folder, a damaged one, or one that holds another model.
    """
    weights = read_weights(folder)
    size = weights.manifest.get("size")
    if weights.manifest.get("model") != "sam" or size is None:
        raise InputError(f"{folder} holds no SAM; write one with python -m convert.sam")
    config = getattr(SamEncoderConfig, size)()
    return fill(abstract(lambda rngs: Sam(config, attention=attention, rngs=rngs)), flatten(weights.tree))
