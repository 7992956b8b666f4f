"""Ensembles: trained heads on the same frozen encoders, such as those of a sweep over folds.

The encoders are loaded once, and every head decodes the same features. A single run is an ensemble of one.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from sampath_jax.config import differences
from sampath_jax.errors import InputError
from sampath_jax.models.sam_path import SamPath
from sampath_jax.training.heads import stack
from sampath_jax.training.sweep_settings import SETTINGS_FILE, read_settings
from sampath_jax.workdir import WorkDir, load_head, load_model

#: A work directory, the folder of a sweep, or several of them.
Places = str | Path | Sequence[str | Path]

#: What decides the features and what the probabilities mean: the heads of an ensemble must agree in it.
SHARED = ("model.", "data.canvas", "data.classes", "data.ignored")
#: What decides which tiles are a split, for ensembles that are scored.
SPLIT = ("data.layout", "data.root", "data.csv")


@dataclass(frozen=True)
class Ensemble:
    """Trained heads, and the encoders they share.

    Attributes:
        model: with the head of the first run.
        heads: the trained parameters of every run; each array has a leading axis of heads.
        config: of the first run.
        paths: the work directory of each head.
        steps: of each head's checkpoint.
    """

    model: SamPath
    heads: Any
    config: ConfigDict
    paths: tuple[Path, ...]
    steps: tuple[int, ...]


def load_ensemble(
    places: Places, checkpoint: str = "best", overrides: Iterable[str] = (), alike: Sequence[str] = ()
) -> Ensemble:
    """The heads of one or more runs, with the encoders of the first.

    Args:
        places: work directories, or folders of sweeps, which stand for all their heads.
        checkpoint: ``best`` on validation, ``last``, or the step of one that is kept; of each run.
        overrides: as for `WorkDir.open`, of each run.
        alike: beginnings of config keys in which the runs must agree, beside `SHARED`.

    Raises:
        InputError: runs that cannot be averaged, with what differs; and as `load_model`.
    """
    overrides = tuple(overrides)
    paths = member_paths(places)
    runs = [WorkDir.open(path, overrides) for path in paths]
    for run in runs[1:]:
        _check_alike(runs[0], run, (*SHARED, *alike))
    steps, heads, metas = zip(*(load_head(run, checkpoint) for run in runs), strict=True)
    for run, meta in zip(runs[1:], metas[1:], strict=True):
        if meta["frozen"] != metas[0]["frozen"]:
            raise InputError(
                f"{runs[0].path} and {run.path} cannot be averaged: their heads were trained on other frozen "
                f"encoders, {metas[0]['frozen'][:12]} and {meta['frozen'][:12]}"
            )
    model = load_model(paths[0], str(steps[0]), overrides).model
    return Ensemble(model, stack(list(heads)), runs[0].config, paths, steps)


def member_paths(places: Places) -> tuple[Path, ...]:
    """The work directories of `places`: the folder of a sweep stands for all its heads.

    Raises:
        InputError: none, or one that is named twice.
    """
    several = [places] if isinstance(places, str | Path) else places
    paths = tuple(itertools.chain.from_iterable(_members(Path(place)) for place in several))
    if not paths:
        raise InputError("there is nothing to load: name at least one work directory")
    resolved = [path.resolve() for path in paths]
    for i, path in enumerate(resolved):
        if path in resolved[:i]:
            raise InputError(f"{paths[i]} is named twice: every head of an ensemble counts once")
    return paths


def _members(place: Path) -> tuple[Path, ...]:
    if not (place / SETTINGS_FILE).is_file():
        return (place,)
    return tuple(place / head["name"] for head in read_settings(place))


def _check_alike(first: WorkDir, other: WorkDir, keys: tuple[str, ...]) -> None:
    changed = differences(first.config, other.config).items()
    changes = [
        f"config.{key}: {ours!r} and {theirs!r}"
        for key, (ours, theirs) in changed
        if key.startswith(keys) and key != "model.attention"
    ]
    if changes:
        lines = "\n  ".join(changes)
        raise InputError(f"{first.path} and {other.path} cannot be averaged, they differ:\n  {lines}")
