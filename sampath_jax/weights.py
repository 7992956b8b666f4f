"""Folders of weights, and models built from them.

A folder holds Orbax arrays (`arrays/`) and a small JSON (`weights.json`): where the weights came from, how
many there are, and their fingerprint, which is checked when they are read.
"""

import functools
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx
from ml_collections import ConfigDict

from sampath_jax.errors import InputError
from sampath_jax.initial_values import fresh_head, random_weights
from sampath_jax.models.abstract import abstract, shapes_of
from sampath_jax.models.config import SamPathConfig
from sampath_jax.models.freezing import frozen_names, split_frozen
from sampath_jax.models.mask_decoder import MaskDecoder
from sampath_jax.models.sam import SAM_MASK_TOKENS
from sampath_jax.models.sam_path import SamPath
from sampath_jax.public_files import find_folder
from sampath_jax.trees import fingerprint, flatten, unflatten

#: Raised when the layout of a folder changes in a way that older versions cannot read.
FORMAT = 1
#: Tensors of the mask decoder whose size depends on the classes, so that SAM has none.
NEW_IN_DECODER = ("mask_decoder/mask_tokens", "mask_decoder/iou_prediction_head/layers/2/")


@dataclass(frozen=True)
class Weights:
    """What a folder holds: nested dicts of numpy arrays (names of list items are digits), and its JSON."""

    tree: dict[str, Any]
    manifest: dict[str, Any]


def frozen_fingerprint(model: SamPath) -> str:
    """The fingerprint of the frozen weights: a checkpoint of the head names the one it needs.

    Of the weights as loaded, so that a head goes with them whatever type the encoders compute in.
    """
    _, _, frozen = split_frozen(model, frozen_names(model))
    return fingerprint(frozen)


def write_weights(folder: Path, tree: Any, manifest: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Writes `tree` and `manifest` to `folder`, which appears whole or not at all.

    `weights.json` gets, beside the manifest: format number, fingerprint, counts and library versions.

    Raises:
        InputError: `folder` exists without `overwrite`, or is no folder of weights, or the disk refuses.
    """
    folder = Path(folder)
    _check_target(folder, overwrite)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error}; choose another output folder") from error
    try:
        arrays = {path: np.asarray(leaf) for path, leaf in flatten(tree).items()}
        ocp.PyTreeCheckpointer().save((staging / "arrays").absolute(), unflatten(arrays))
        (staging / "weights.json").write_text(json.dumps(_describe(arrays, manifest), indent=2) + "\n")
        staging.chmod(0o755)
        _replace(staging, folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error}; free space or choose another folder") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check_target(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not overwrite:
        raise InputError(f"{folder} exists already and is kept; choose another folder or add --overwrite")
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / "weights.json").is_file()):
        raise InputError(f"{folder} is no folder of weights and is not overwritten; choose another folder")


def _describe(arrays: Mapping[str, np.ndarray], manifest: Mapping[str, Any]) -> dict[str, Any]:
    libraries = ("sampath-jax", "jax", "flax", "orbax-checkpoint", "numpy")
    return {
        **manifest,
        "format": FORMAT,
        "fingerprint": fingerprint(arrays),
        "tensors": len(arrays),
        "parameters": sum(array.size for array in arrays.values()),
        "versions": {name: version(name) for name in libraries},
    }


def _replace(staging: Path, folder: Path) -> None:
    """Renames `staging` to `folder`; what was there is removed only once the new one stands."""
    if not folder.exists():
        staging.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    folder.rename(old / "weights")
    staging.rename(folder)
    shutil.rmtree(old)


def read_weights(folder: Path) -> Weights:
    """Reads what `write_weights` wrote, and checks it.

    Raises:
        InputError: no such folder, not one of weights, written by a newer version, or damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    try:
        manifest = json.loads((folder / "weights.json").read_text())
    except FileNotFoundError as error:
        raise InputError(f"{folder} is no folder of converted weights: it has no weights.json") from error
    except ValueError as error:
        raise InputError(f"{folder / 'weights.json'} is damaged; convert the weights again") from error
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{folder} has format {manifest.get('format')}, this version reads format {FORMAT}; "
            "update sampath-jax or convert the weights again"
        )
    try:
        tree = ocp.PyTreeCheckpointer().restore((folder / "arrays").absolute())
    except Exception as error:  # Orbax and TensorStore raise many kinds for missing and damaged files
        raise InputError(f"the arrays in {folder} cannot be read; convert the weights again") from error
    if fingerprint(tree) != manifest["fingerprint"]:
        raise InputError(f"the arrays in {folder} are not those that were written; convert the weights again")
    return Weights(tree, manifest)


def build_model(config: ConfigDict, base: Path | None = None, head: Any = None) -> SamPath:
    """SAM-Path with its frozen weights and a head, trained or ready to train; float32 on the default device.

    A head ready to train is SAM's decoder with new class tokens and a new last IoU layer, every mask network
    a copy of SAM's first, and a new neck (SAM's own if SAM is the only encoder). New values depend on
    `config.seed`.

    Args:
        config: an experiment.
        base: the work directory; relative weight paths are looked up there first, then where we are.
        head: a trained head, as `split_head` gives it; SAM's own decoder is then not needed.

    Raises:
        InputError: a weight folder is missing, damaged, or holds a model of another size.
    """
    model_config = SamPathConfig.from_config(config)
    if not model_config.train_neck and model_config.encoders != ("sam",):
        raise InputError(
            "config.model.train_neck=False keeps the neck as loaded, but only SAM alone comes with a neck; "
            "set config.model.encoders=('sam',) or train the neck"
        )
    empty = abstract_model(model_config)
    wanted = shapes_of(empty)
    sam = _sam_shapes(model_config)
    if head is not None:
        sam = {path: shape for path, shape in sam.items() if not path.startswith("mask_decoder/")}
    values = _load("sam", config, base, sam)
    if "hipt" in model_config.encoders:
        values |= _load("hipt", config, base, _below(wanted, "hipt_encoder"))
    if head is None:
        values |= initial_head(wanted, values, config.seed, keep_neck=model_config.encoders == ("sam",))
    else:
        values |= flatten(head)
    return fill(empty, values)


def initial_head(
    shapes: Mapping[str, tuple[int, ...]], sam: Mapping[str, Any], seed: int, *, keep_neck: bool
) -> dict[str, np.ndarray]:
    """Values of neck and mask decoder at the start of training, by path.

    Args:
        shapes: of the whole SAM-Path model.
        sam: SAM's tensors, with its decoder of four tokens.
        seed: of the new values.
        keep_neck: SAM's own neck stays.
    """
    head = {p: s for p, s in shapes.items() if p.startswith(("neck/", "mask_decoder/"))}
    values = fresh_head(head, seed)
    for path, shape in head.items():
        if path.startswith("mask_decoder/output_hypernetworks_mlps/"):
            values[path] = np.repeat(sam[path][:1], shape[0], axis=0)
        elif keep_neck if path.startswith("neck/") else not path.startswith(NEW_IN_DECODER):
            values[path] = sam[path]
    return values


def fill(empty: Any, values: Mapping[str, Any]) -> Any:
    """The abstract module `empty` with `values`, given by path; paths that it lacks are left over.

    Raises:
        InputError: parameters without a value or with one of another shape, the first few of them named.
    """
    check_complete(shapes_of(empty), values, "the weights")
    graphdef, state = nnx.split(empty)
    filled = nnx.map_state(
        lambda path, leaf: leaf.replace(jnp.asarray(values["/".join(map(str, path))])), state
    )
    return nnx.merge(graphdef, filled)


def check_complete(wanted: Mapping[str, tuple[int, ...]], values: Mapping[str, Any], source: str) -> None:
    """Raises `InputError`, naming a few tensors, unless `values` has all of `wanted` in its shapes."""
    missing = [f"{path} {shape} is missing" for path, shape in wanted.items() if path not in values]
    wrong = [
        f"{path} is {tuple(values[path].shape)}, expected {shape}"
        for path, shape in wanted.items()
        if path in values and tuple(values[path].shape) != shape
    ]
    if problems := missing + wrong:
        more = f", and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise InputError(
            f"{source} do not fit this model: {'; '.join(problems[:4])}{more}. "
            "Check that config.model names the size that was converted."
        )


@functools.lru_cache(maxsize=8)
def abstract_model(config: SamPathConfig) -> SamPath:
    """SAM-Path as shapes only; kept, as it takes a second."""
    return abstract(lambda rngs: SamPath(config, rngs=rngs))


@functools.lru_cache(maxsize=8)
def _sam_shapes(config: SamPathConfig) -> dict[str, tuple[int, ...]]:
    """The tensors of SAM that a model needs: encoder (if used), neck (if alone), prompts, decoder."""
    own_neck = ("neck/",) if config.encoders == ("sam",) else ()
    kept = ("sam_encoder/", "prompt_encoder/", *own_neck)
    decoder = abstract(lambda rngs: MaskDecoder(SAM_MASK_TOKENS, rngs=rngs))
    shapes = {
        path: shape for path, shape in shapes_of(abstract_model(config)).items() if path.startswith(kept)
    }
    return shapes | {f"mask_decoder/{path}": shape for path, shape in shapes_of(decoder).items()}


def _below(shapes: Mapping[str, tuple[int, ...]], part: str) -> dict[str, tuple[int, ...]]:
    return {path: shape for path, shape in shapes.items() if path.startswith(f"{part}/")}


def _load(
    part: str, config: ConfigDict, base: Path | None, wanted: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    """The `wanted` tensors from the folder `config.weights.<part>`, or random ones."""
    place, size = config.weights[part], config.model[part]
    if place == "random":
        return random_weights(wanted, config.seed)
    folder = find_folder(part, place, size, base)
    values = flatten(read_weights(folder).tree)
    check_complete(wanted, values, f"the weights in {folder}")
    return {path: values[path] for path in wanted}
