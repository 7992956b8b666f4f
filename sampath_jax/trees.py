"""Trees of arrays as flat dicts of paths, and their fingerprint."""

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def flatten(tree: Any) -> dict[str, Any]:
    """Leaves of any tree by path, such as "sam_encoder/blocks/0/attn/qkv/kernel"; sorted."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return dict(sorted(("/".join(_name(key) for key in path), leaf) for path, leaf in leaves))


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`, as nested dicts."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def _name(key: Any) -> str:
    """The name in a path entry of any kind: dict key, list index, attribute."""
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    raise TypeError(f"unknown path entry {key!r}")


def fingerprint(tree: Any) -> str:
    """sha256 over path, type, shape and bytes of every array, in the order of the paths."""
    digest = hashlib.sha256()
    for path, leaf in flatten(tree).items():
        array = np.ascontiguousarray(leaf)
        digest.update(f"{path} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
