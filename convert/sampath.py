"""A SAM-Path model trained with the published PyTorch code into a work directory of ours.

    python -m convert.sampath --config configs/bcss.py --input last.ckpt --output runs/bcss_published

The work directory is self-contained (``weights/`` in it holds both encoders): `evaluate` and `predict` accept
it. The classes of the config must be those of the training, in the same order: channel c is class c.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from convert import command, hipt, sam
from convert.inert_pickle import Foreign
from convert.source import Source, guess, open_source, state_dict
from convert.table import Converted, Shapes, Table, convert, under
from sampath_jax import cli, console
from sampath_jax.errors import InputError
from sampath_jax.models.abstract import shapes_of
from sampath_jax.models.config import SamPathConfig
from sampath_jax.models.freezing import split_head
from sampath_jax.training.checkpoints import Checkpoints
from sampath_jax.trees import unflatten
from sampath_jax.weights import abstract_model, build_model, frozen_fingerprint, write_weights
from sampath_jax.workdir import WorkDir

Encoders = tuple[str, ...]

#: The file that tells a converted work directory from one with a training in it, which is never overwritten.
MARKER = "conversion.json"

#: Our paths begin with where a parameter goes: the folder of SAM's weights, of HIPT's, or the trained head.
SAM_ENCODER = under("model.model.", "sam.", (*sam.ENCODER, *sam.neck_rows(r"image_encoder\.neck")))
PROMPTS = under("model.model.", "sam.", sam.PROMPTS)
HIPT_ENCODER = under("model.extra_encoder.model.", "hipt.", hipt.ROWS)
DECODER = under("model.model.", "head.", sam.DECODER)
FUSION_NECK = under("model.", "head.", sam.neck_rows("fusion_neck"))
HIPT_NECK = under("model.extra_encoder.", "head.", sam.neck_rows("neck"))

#: What a checkpoint of each system holds. SAM alone has no neck of its own but SAM's.
TABLES: dict[Encoders, Table] = {
    ("sam", "hipt"): Table((*SAM_ENCODER, *PROMPTS, *HIPT_ENCODER, *FUSION_NECK, *DECODER)),
    ("sam",): Table((*SAM_ENCODER, *PROMPTS, *DECODER)),
    ("hipt",): Table(
        (*PROMPTS, *HIPT_ENCODER, *HIPT_NECK, *DECODER),
        unused={r"model\.model\.image_encoder\..*": "SAM's encoder, which this system does not run"},
    ),
}


def check_system(source: Source, names: Iterable[str], encoders: Encoders) -> None:
    """Raises `InputError` unless a checkpoint with tensors `names` is of the system with these encoders.

    HIPT alone and the sum of both encoders' necks (none of the paper's systems) have the same tensors: there
    the stored hyper-parameters decide, and without them `encoders`.
    """
    names = list(names)
    if not any(name.startswith("model.model.mask_decoder.") for name in names):
        raise InputError(f"{source.path} is not a SAM-Path checkpoint. {guess(names)}")
    if any(name.startswith("model.fusion_neck.") for name in names):
        found: Encoders = ("sam", "hipt")
    elif any(name.startswith("model.extra_encoder.") for name in names):
        found = ("hipt",)
        settings = _model_settings(source.content)
        if settings is None:
            console.warning(
                f"{source.path} does not say whether SAM's encoder was on in its training (no_sam); it is "
                "taken for HIPT alone. If both encoders' necks were summed, its masks will be wrong"
            )
        elif not settings.get("no_sam"):
            raise InputError(
                f"{source.path} was trained with both encoders' necks summed (extra_type 'plus', no_sam "
                "off), which is none of the paper's systems and has no counterpart here: train with 'fusion'"
            )
    else:
        found = ("sam",)
    if found != encoders:
        raise InputError(
            f"{source.path} was trained with the encoders {found}, but config.model.encoders is {encoders}: "
            f'add --config.model.encoders="{found}"'
        )


def _model_settings(content: Any) -> dict[Any, Any] | None:
    """`cfg.model` of the stored hyper-parameters, None if the file has none that can be read."""
    value = content
    for key in ("hyper_parameters", "cfg", "model"):
        items = value.items if isinstance(value, Foreign) else value
        value = items.get(key) if isinstance(items, dict) else None
    if isinstance(value, Foreign):
        return value.items or None
    return value if isinstance(value, dict) else None


def checkpoint_shapes(config: ConfigDict) -> Shapes:
    """What a checkpoint fills, below ``sam/``, ``hipt/`` and ``head/``, as the encoders in use need it."""
    model_config = SamPathConfig.from_config(config)
    encoders = model_config.encoders
    prompts_only = () if "sam" in encoders else ("sam_encoder/", "neck/")
    parts = {"sam": _without(sam.sam_shapes(model_config.sam), ("mask_decoder/", *prompts_only))}
    if "hipt" in encoders:
        parts["hipt"] = dict(hipt.hipt_shapes(model_config.hipt))
    whole = shapes_of(abstract_model(model_config))
    encoder_parts = ("sam_encoder/", "hipt_encoder/", "prompt_encoder/")
    parts["head"] = _without(whole, encoder_parts + (("neck/",) if encoders == ("sam",) else ()))
    return {f"{part}/{path}": shape for part, shapes in parts.items() for path, shape in shapes.items()}


def _without(shapes: Shapes, beginnings: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    return {path: shape for path, shape in shapes.items() if not path.startswith(beginnings)}


def convert_sampath(source: Source, config: ConfigDict) -> Converted:
    """The parameters in a trained checkpoint.

    Raises:
        InputError: another model, other encoders or classes than the config's, or an incomplete file.
    """
    tensors = state_dict(source)
    encoders = tuple(config.model.encoders)
    check_system(source, tensors, encoders)
    tokens = tensors.get("model.model.mask_decoder.mask_tokens.weight")
    if tokens is not None and len(tokens) != len(config.data.classes) + 2:
        raise InputError(
            f"{source.path} was trained on {len(tokens) - 2} classes (num_classes={len(tokens) - 1} counts "
            f"the unlabelled one), but config.data.classes lists {len(config.data.classes)}: give the config "
            "of the data that it was trained on"
        )
    what = f"{source.path} is not a whole SAM-Path ({config.model.sam}, {' and '.join(encoders)})"
    return convert(tensors, TABLES[encoders], checkpoint_shapes(config), what)


def write_workdir(folder: Path, config: ConfigDict, converted: Converted, source: Source) -> None:
    """Fills an empty `folder`: config, encoders in ``weights/``, and one checkpoint of the head."""
    parts: dict[str, dict[str, np.ndarray]] = {"sam": {}, "hipt": {}, "head": {}}
    for path, array in converted.arrays.items():
        part, _, rest = path.partition("/")
        parts[part][rest] = array
    config = config.copy_and_resolve_references()
    for part in ("sam", "hipt"):
        config.weights[part] = f"weights/{part}" if parts[part] else ""
    workdir = WorkDir.create(folder, config)
    origin = command.origin(source, converted)
    (folder / MARKER).write_text(json.dumps(origin, indent=2) + "\n")
    for part in ("sam", "hipt"):
        if parts[part]:
            manifest = {"model": part, "size": config.model[part], **origin}
            write_weights(folder / "weights" / part, unflatten(parts[part]), manifest)
    if tuple(config.model.encoders) == ("sam",):
        parts["head"] |= {path: array for path, array in parts["sam"].items() if path.startswith("neck/")}
    # Read back and put together, so that a work directory which cannot be loaded is never left behind.
    model = build_model(config, base=folder, head=unflatten(parts["head"]))
    _, head, _ = split_head(model)
    step = source.content.get("global_step") if isinstance(source.content, dict) else None
    step = step if isinstance(step, int) else 0
    with Checkpoints(workdir.checkpoints, {}) as checkpoints:
        meta = {"step": step, "frozen": frozen_fingerprint(model), "converted_from": origin}
        checkpoints.save(step, head, None, meta)


def main(arguments: Sequence[str]) -> None:
    """Converts a checkpoint, writes the work directory, and prints a summary."""
    parser = command.parser("convert.sampath", __doc__)
    cli.add_config(parser)
    options, config = cli.parse(parser, arguments)
    assert config is not None
    with command.replacing(options.output, MARKER, overwrite=options.overwrite) as folder:
        source = open_source(options.input)
        converted = convert_sampath(source, config)
        write_workdir(folder, config, converted, source)
    names = " and ".join(config.model.encoders)
    command.summarise(
        f"SAM-Path with {names} from {source.path.name} ({source.format})", converted, options.output
    )


if __name__ == "__main__":
    cli.run(main)
