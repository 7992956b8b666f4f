"""The settings of a sweep: which keys may differ between heads that share every batch and its features."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from sampath_jax.config import flatten, override
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
        InputError: no sweep, a key that may not be swept, a value that is not allowed or given twice.
    """
    axes = dict(_parse_axis(argument) for argument in arguments)
    if not axes:
        raise InputError(f"nothing to sweep: give one of {_choices()}")
    combinations = itertools.product(*axes.values())
    return tuple(_setting(config, dict(zip(axes, values, strict=True))) for values in combinations)


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
    if len(set(values)) < len(values):
        raise InputError(f"{argument}: a value stands there twice")
    return key, values


def _setting(config: ConfigDict, texts: dict[str, str]) -> Setting:
    name = "_".join(f"{key.rpartition('.')[2]}={text}" for key, text in texts.items())
    changes = [f"{key}={text}" for key, text in texts.items()]
    own = override(config, [*changes, f"name={config.name}/{name}"])
    known = dict(flatten(own))
    return Setting(name, {key: known[key] for key in texts}, own)


def _choices() -> str:
    return ", ".join(f"{PREFIX}{key}=VALUE,VALUE" for key in SWEEPABLE)
