"""What is trained and what is frozen, declared once and asserted."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx

from sampath_jax.models.sam_path import SamPath

#: Arrays in a tree: what optimisers, checkpoints and steps are given.
Tree = Any


def frozen_names(model: SamPath) -> tuple[str, ...]:
    """Attributes of the model whose parameters no training touches.

    SAM-Path freezes the prompt encoder's constants too; without the pathology encoder also SAM's own neck.
    """
    encoders = tuple(f"{name}_encoder" for name in model.config.encoders)
    neck = () if model.config.train_neck else ("neck",)
    return (*encoders, "prompt_encoder", *neck)


def split_head(model: SamPath) -> tuple[nnx.GraphDef, Tree, Tree]:
    """`(graphdef, head, frozen)`; `nnx.merge` of the three gives the model back, also inside `jit`.

    Of what is frozen, kernels of products in bfloat16 come in bfloat16, whatever they were loaded in: every
    use would round them, and once rounded they take half the memory.
    """
    graphdef, head, frozen = split_frozen(model, frozen_names(model))
    layers = ((path, layer) for path, layer in nnx.iter_modules(model) if isinstance(layer, nnx.Linear))
    types = {(*path, "kernel"): layer.dtype for path, layer in layers}

    def rounded(path: tuple[Any, ...], leaf: Any) -> Any:
        dtype = types.get(tuple(key.key for key in path), leaf.dtype)
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf.update(dtype=dtype)
        return leaf.astype(dtype)

    return graphdef, head, jax.tree.map_with_path(rounded, frozen)


def split_frozen(model: nnx.Module, frozen_attributes: Sequence[str]) -> tuple[nnx.GraphDef, Tree, Tree]:
    """Splits off the parameters below `frozen_attributes`, as trees of bare arrays.

    Raises:
        ValueError: a frozen attribute has no parameters: a misspelt name would train what should be frozen.
    """
    declared = set(frozen_attributes)
    graphdef, frozen, head = nnx.split(model, lambda path, _: path[0] in declared, ...)  # type: ignore[misc]
    found = {path[0] for path, _ in nnx.to_flat_state(frozen)}
    if missing := sorted(declared - found):
        raise ValueError(
            f"nothing to freeze in {', '.join(missing)}: the model has {sorted(nnx.state(model))}"
        )
    return graphdef, nnx.as_pure(head), nnx.as_pure(frozen)
