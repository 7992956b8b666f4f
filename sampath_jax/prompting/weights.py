"""Promptable SAM from a folder of converted weights, or as a config names it."""

from pathlib import Path

from ml_collections import ConfigDict

from sampath_jax.errors import InputError
from sampath_jax.initial_values import random_weights
from sampath_jax.models.abstract import abstract, shapes_of
from sampath_jax.models.config import SamEncoderConfig, resolve_dtype
from sampath_jax.models.sam import Sam
from sampath_jax.public_files import find_folder
from sampath_jax.trees import flatten
from sampath_jax.weights import fill, read_weights


def load_sam_model(
    folder: Path, size: str | None = None, *, attention: str = "auto", encoder_dtype: str = "auto"
) -> Sam:
    """SAM as `convert.sam` wrote it; its size is in the folder's `weights.json`.

    Args:
        folder: of the weights.
        size: `config.model.sam`, which must be what the folder holds; None: whatever it holds.
        attention: `config.model.attention`.
        encoder_dtype: `config.model.encoder_dtype`.

    Raises:
        InputError: no such folder, a damaged one, or one that holds another model or another size.
    """
    weights = read_weights(folder)
    found = weights.manifest.get("size")
    if weights.manifest.get("model") != "sam" or found is None:
        raise InputError(f"{folder} holds no SAM; write one with python -m convert.sam")
    if size not in (None, found):
        raise InputError(
            f"config.model.sam is {size}, but {folder} holds SAM {found}: set --config.model.sam={found}, or "
            f"config.weights.sam to a folder of {size}"
        )
    return fill(_empty(found, attention, encoder_dtype), flatten(weights.tree))


def sam_of_config(config: ConfigDict, base: Path) -> Sam:
    """The SAM that `config.model` describes with the weights of `config.weights.sam`.

    Args:
        config: an experiment; weights ``random`` are those that training draws, from `config.seed`.
        base: the work directory; a relative folder of weights is looked up there first, then where we are.

    Raises:
        InputError: as `load_sam_model`; a missing folder with where to get the weights.
    """
    model, place = config.model, config.weights.sam
    if place == "random":
        empty = _empty(model.sam, model.attention, model.encoder_dtype)
        return fill(empty, random_weights(shapes_of(empty), config.seed))
    folder = find_folder("sam", place, model.sam, base)
    return load_sam_model(folder, model.sam, attention=model.attention, encoder_dtype=model.encoder_dtype)


def _empty(size: str, attention: str, encoder_dtype: str) -> Sam:
    config, dtype = getattr(SamEncoderConfig, size)(), resolve_dtype(encoder_dtype)
    return abstract(lambda rngs: Sam(config, attention=attention, dtype=dtype, rngs=rngs))
