"""The settings of a sweep: which keys may differ between heads that share every batch and its features."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from sampath_jax.config import flatten, override
from sampath_jax.data.index import open_index
from sampath_jax.errors import InputError

#: Keys that change neither the encoders nor the batches.
SWEEPABLE = ("loss.alpha", "loss.beta", "seed", "data.val_fold")
PREFIX = "--sweep."
#: Lists the heads of a sweep, in its work directory.
SETTINGS_FILE = "sweep.json"


@dataclass(frozen=True)
class Setting:
    """One head of a sweep.

    Attributes:
        name: of its work directory, such as ``alpha=0.25_seed=1``.
        values: of the swept keys.
        config: what the head would be trained with alone.
    """

    name: str
    values: Mapping[str, Any]
    config: ConfigDict


def parse_sweep(config: ConfigDict, arguments: Sequence[str]) -> tuple[Setting, ...]:
    """Every combination of ``--sweep.KEY=VALUE,VALUE``, the last key varying fastest.

    Raises:
        InputError: no sweep, a key that may not be swept, a key or a value given twice, or one not allowed.
    """
    axes: dict[str, tuple[str, ...]] = {}
    for argument in arguments:
        key, texts = _parse_axis(argument)
        if key in axes:
            raise InputError(f"{PREFIX}{key} is given twice: list all its values in one")
        axes[key] = texts
    if not axes:
        raise InputError(f"nothing to sweep: give one of {_choices()}")
    combinations = itertools.product(*axes.values())
    settings = tuple(_setting(config, dict(zip(axes, texts, strict=True))) for texts in combinations)
    _refuse_equal(settings)
    return settings


def swept(settings: Sequence[Setting], key: str) -> bool:
    """Whether the heads differ in `key`."""
    return key in settings[0].values


def check_settings(config: ConfigDict, settings: Sequence[Setting]) -> None:
    """Refuses heads that could not share encoders, or whose fold there is not.

    Raises:
        InputError: seeds of random encoders, folds of a data set without folds, a fold that no tile is in.
    """
    used = {"sam", *config.model.encoders}  # the decoder starts from SAM's in any case
    if swept(settings, "seed") and "random" in {config.weights[part] for part in used}:
        raise InputError(
            'config.weights.sam or .hipt is "random" and drawn from config.seed: heads of another seed would '
            "need other encoders. Sweep other keys, or convert weights"
        )
    if swept(settings, "data.val_fold"):
        _check_folds(config, settings)


def _check_folds(config: ConfigDict, settings: Sequence[Setting]) -> None:
    if config.data.layout == "plain":
        raise InputError(
            f"{PREFIX}data.val_fold: the folders of the plain layout have no folds, so every head would "
            "validate on the same tiles. Use the published layout or python -m sampath_jax.prepare"
        )
    folds = sorted({tile.fold for tile in open_index(config).tiles if tile.fold >= 0})
    names = ", ".join(map(str, folds)) or "none"
    if missing := [s.config.data.val_fold for s in settings if s.config.data.val_fold not in folds]:
        raise InputError(f"{PREFIX}data.val_fold: no tile has fold {missing[0]}; the folds are {names}")
    if len(folds) == 1:
        raise InputError(f"{PREFIX}data.val_fold: all tiles have fold {names}, so none are left to train on")


def read_settings(path: Path) -> list[dict[str, Any]]:
    """The heads of the sweep in the folder `path`: the name of each, and its values of the swept keys.

    Raises:
        InputError: no sweep, or a damaged list.
    """
    file = path / SETTINGS_FILE
    if not file.is_file():
        raise InputError(
            f"{path} holds no sweep: it has no {SETTINGS_FILE}. Make one with python -m sampath_jax.sweep"
        )
    try:
        heads = json.loads(file.read_text())
    except ValueError:
        heads = None
    if not _is_list_of_heads(heads):
        raise InputError(
            f"{file} is damaged: it is not a list that a sweep wrote. Start the sweep in another folder"
        )
    return heads


def _is_list_of_heads(found: Any) -> bool:
    return (
        isinstance(found, list)
        and bool(found)
        and all(isinstance(head, dict) and "name" in head for head in found)
        and all(head.keys() == found[0].keys() for head in found)
    )


def as_list(settings: Sequence[Setting]) -> list[dict[str, Any]]:
    """What `read_settings` reads."""
    return [{"name": setting.name, **setting.values} for setting in settings]


def _parse_axis(argument: str) -> tuple[str, tuple[str, ...]]:
    key, equals, text = argument.removeprefix(PREFIX).partition("=")
    if key not in SWEEPABLE:
        raise InputError(
            f"{PREFIX}{key}: heads of a sweep share every encoder pass and every batch, so only these keys "
            f"may differ: {', '.join(SWEEPABLE)}. Train other settings one after another"
        )
    values = tuple(text.split(","))
    if not equals or "" in values:
        raise InputError(f"{argument}: write it as {PREFIX}{key}=VALUE,VALUE")
    return key, values


def _refuse_equal(settings: Sequence[Setting]) -> None:
    """Two heads of the same values, however those are written, would be the same head."""
    names: dict[tuple[Any, ...], str] = {}
    for setting in settings:
        values = tuple(setting.values.values())
        if values in names:
            raise InputError(f"{names[values]} and {setting.name} are the same: a value stands there twice")
        names[values] = setting.name


def _setting(config: ConfigDict, texts: dict[str, str]) -> Setting:
    name = "_".join(f"{key.rpartition('.')[2]}={text}" for key, text in texts.items())
    changes = [f"{key}={text}" for key, text in texts.items()]
    own = override(config, [*changes, f"name={config.name}_{name}"])
    known = dict(flatten(own))
    return Setting(name, {key: known[key] for key in texts}, own)


def _choices() -> str:
    return ", ".join(f"{PREFIX}{key}=VALUE,VALUE" for key in SWEEPABLE)
