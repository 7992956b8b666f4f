"""A model of ours back into PyTorch.

    python -m convert.to_torch --input runs/bcss --output bcss.ckpt

From a work directory: a checkpoint whose ``state_dict`` the published code's prediction script loads
(``predict.py --pretrained bcss.ckpt``), encoders included. From a folder of `convert.sam` or `convert.hipt`:
the state dict with the published names. PyTorch is not needed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

import sampath_jax
from convert import command, hipt, sam, sampath
from convert.table import Converted, Row, revert
from convert.torch_writer import write_torch
from sampath_jax import cli
from sampath_jax.errors import InputError
from sampath_jax.trees import flatten
from sampath_jax.weights import build_model, find_folder, read_weights
from sampath_jax.workdir import WorkDir, explain_os_errors, load_head

#: Lightning refuses checkpoints without a version; this is the one that the published code names.
LIGHTNING_VERSION = "2.0.2"
#: The rows of a folder of weights, by the model in its manifest.
WEIGHT_ROWS = {"sam": sam.TABLE.rows, "hipt": hipt.TABLE.rows}


def checkpoint_arrays(workdir: WorkDir, checkpoint: str) -> tuple[dict[str, np.ndarray], int]:
    """All parameters of a trained model, below ``sam/``, ``hipt/`` and ``head/``; the step of its head."""
    step, head, _ = load_head(workdir, checkpoint)
    model = build_model(workdir.config, base=workdir.path, head=head)
    arrays = {_place(path): leaf for path, leaf in flatten(nnx.as_pure(nnx.state(model))).items()}
    arrays = _unread_parts(workdir) | arrays
    if tuple(workdir.config.model.encoders) == ("sam",):  # the one neck is SAM's, trained or not
        necks = {path: leaf for path, leaf in arrays.items() if path.startswith("head/neck/")}
        arrays |= {path.replace("head/", "sam/"): leaf for path, leaf in necks.items()}
        arrays = {path: leaf for path, leaf in arrays.items() if path not in necks}
    return {path: np.asarray(leaf) for path, leaf in arrays.items()}, step


def _place(path: str) -> str:
    """Where the table of `convert.sampath` puts a parameter of the model."""
    part = path.split("/")[0]
    return {"sam_encoder": "sam/", "prompt_encoder": "sam/", "hipt_encoder": "hipt/"}.get(
        part, "head/"
    ) + path


def _unread_parts(workdir: WorkDir) -> dict[str, np.ndarray]:
    """What SAM's folder has and SAM-Path never reads, but the published model holds: neck, points, masks."""
    place, size = workdir.config.weights.sam, workdir.config.model.sam
    if place == "random":
        return {}
    leaves = flatten(read_weights(find_folder("sam", place, size, workdir.path)).tree)
    return {f"sam/{path}": leaf for path, leaf in leaves.items() if not path.startswith("mask_decoder/")}


def checkpoint_rows(encoders: tuple[str, ...]) -> tuple[Row, ...]:
    """The rows of a checkpoint, SAM's encoder always among them: its folder may hold it unused."""
    rows = sampath.TABLES[encoders].rows
    return rows if "sam" in encoders else (*sampath.SAM_ENCODER, *rows)


def convert_workdir(path: Path, checkpoint: str) -> tuple[dict[str, Any], Converted]:
    """The content of a checkpoint for the published code."""
    workdir = WorkDir.open(path)
    arrays, step = checkpoint_arrays(workdir, checkpoint)
    tensors = revert(arrays, checkpoint_rows(tuple(workdir.config.model.encoders)))
    content = {
        "state_dict": tensors,
        "epoch": 0,
        "global_step": step,
        "pytorch-lightning_version": LIGHTNING_VERSION,
        "sampath-jax_version": sampath_jax.__version__,
        "classes": [entry["name"] for entry in workdir.config.data.classes],
    }
    return content, Converted(arrays, len(tensors), {})


def convert_weights(path: Path) -> tuple[Mapping[str, Any], Converted]:
    """The published state dict of a folder of weights."""
    weights = read_weights(path)
    model = weights.manifest.get("model")
    if model not in WEIGHT_ROWS:
        raise InputError(f"{path} holds neither SAM nor HIPT, so that there is no published format for it")
    arrays = flatten(weights.tree)
    tensors = revert(arrays, WEIGHT_ROWS[model])
    return tensors, Converted(arrays, len(tensors), {})


def main(arguments: Sequence[str]) -> None:
    """Converts a work directory or a folder of weights, writes one file, and prints a summary."""
    parser = command.parser("convert.to_torch", __doc__)
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="of a work directory")
    options = parser.parse_args(arguments)
    if options.output.exists() and not (options.overwrite and options.output.is_file()):
        raise InputError(
            f"{options.output} exists already and is kept; choose another file or add --overwrite"
        )
    if (options.input / "weights.json").is_file():
        content, converted = convert_weights(options.input)
    else:
        content, converted = convert_workdir(options.input, options.checkpoint)
    with explain_os_errors(options.output):
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_torch(options.output, content)
    command.summarise(f"{options.input} for PyTorch", converted, options.output)


if __name__ == "__main__":
    cli.run(main)
