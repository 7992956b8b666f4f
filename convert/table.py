"""Tables of parameter names: which PyTorch tensors are which of our parameters, and in what layout.

A conversion is complete both ways. Every tensor of the file is used, or matches an entry of the table's
`unused` with the reason; every parameter of the model is filled. Anything else is an error that lists names
and shapes. The same rows lead back to PyTorch, bit for bit.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from sampath_jax.errors import InputError

#: Shapes of our parameters by path, such as "sam_encoder/blocks/0/attn/qkv/kernel".
Shapes = Mapping[str, tuple[int, ...]]
#: How many names an error lists of each kind.
FIRST_FEW = 4


@dataclass(frozen=True)
class Layout:
    """A rule for axes: from PyTorch's tensor to our parameter, and back. Both only change the view."""

    name: str
    ours: Callable[[np.ndarray], np.ndarray]
    torch: Callable[[np.ndarray], np.ndarray]


keep = Layout("as it is", lambda w: w, lambda w: w)
#: Linear: (out, in) -> (in, out).
dense = Layout("transposed", lambda w: w.transpose(1, 0), lambda w: w.transpose(1, 0))
#: Conv2d: (out, in, h, w) -> (h, w, in, out).
conv = Layout("h w in out", lambda w: w.transpose(2, 3, 1, 0), lambda w: w.transpose(3, 2, 0, 1))
#: ConvTranspose2d: (in, out, h, w) -> (h, w, in, out); `models.mask_decoder.Upscaling` needs no flip.
deconv = Layout("h w in out", lambda w: w.transpose(2, 3, 0, 1), lambda w: w.transpose(2, 3, 0, 1))
#: Embedding of one row: (1, width) -> (width).
row = Layout("one row", lambda w: w.reshape(w.shape[-1:]), lambda w: w[None])


@dataclass(frozen=True)
class Row:
    r"""One line of a table.

    Attributes:
        torch: regular expression of the names in the file, made of literal text and groups without nesting.
        ours: path of our parameter, with dots, and `\1` for the groups; ``[\1]`` at the end is an index
            along a
            leading axis, for parameters that gather several tensors.
        layout: what happens to the axes.
    """

    torch: str
    ours: str
    layout: Layout = keep

    def torch_name(self, path: str) -> str | None:
        """The name in the file of our parameter at `path` (with any index); None if it is another row's."""
        found = re.fullmatch(self._path_pattern(), path.replace("/", "."))
        if found is None:
            return None
        literals = re.split(r"\([^()]*\)", self.torch)
        values = [found[f"g{i + 1}"] for i in range(len(literals) - 1)]
        pieces = [
            literal.replace("\\", "") + value for literal, value in zip(literals, [*values, ""], strict=True)
        ]
        return "".join(pieces)

    def _path_pattern(self) -> str:
        """The regular expression of our paths that this row fills."""
        groups = re.findall(r"\(([^()]*)\)", self.torch)
        literals = re.split(r"\\(\d)", self.ours)
        for i in range(1, len(literals), 2):
            number = int(literals[i])
            literals[i] = f"(?P<g{number}>{groups[number - 1]})"
        literals[::2] = [re.escape(text) for text in literals[::2]]
        return "".join(literals)


@dataclass(frozen=True)
class Table:
    """All rows of a source format, and the tensors that are knowingly not used, with the reason."""

    rows: tuple[Row, ...]
    unused: Mapping[str, str] = field(default_factory=dict)


def under(torch: str, ours: str, rows: Iterable[Row]) -> tuple[Row, ...]:
    """The same rows for names that all begin with `torch`, and paths that all begin with `ours`."""
    return tuple(Row(re.escape(torch) + row.torch, ours + row.ours, row.layout) for row in rows)


@dataclass(frozen=True)
class Slot:
    """Where one tensor of the file belongs: a parameter, or one index of its leading axis."""

    path: str
    index: int | None
    layout: Layout
    torch_shape: tuple[int, ...]


@dataclass(frozen=True)
class Converted:
    """The parameters by path, and how many tensors of the file were used, and left out for which reason."""

    arrays: dict[str, np.ndarray]
    used: int
    unused: dict[str, int]


def plan(rows: tuple[Row, ...], shapes: Shapes) -> dict[str, Slot]:
    """For every tensor that the parameters of `shapes` need: its name in the file, and where it belongs.

    Raises:
        ValueError: a parameter that no row, or more than one, can fill: the table is wrong.
    """
    slots: dict[str, Slot] = {}
    for path, shape in shapes.items():
        found = [*_matches(rows, path), *(_matches(rows, f"{path}[0]") if shape else [])]
        if len(found) != 1:
            raise ValueError(f"{len(found)} rows of the table fill {path}")
        ((row, _),) = found
        indices: list[int | None] = [*range(shape[0])] if row.ours.endswith("]") else [None]
        for index in indices:
            leaf_shape = shape if index is None else shape[1:]
            name = row.torch_name(path if index is None else f"{path}[{index}]")
            assert name is not None
            slots[name] = Slot(path, index, row.layout, _torch_shape(row.layout, leaf_shape))
    return slots


def _matches(rows: tuple[Row, ...], path: str) -> list[tuple[Row, str]]:
    return [(row, name) for row in rows if (name := row.torch_name(path)) is not None]


def _torch_shape(layout: Layout, shape: tuple[int, ...]) -> tuple[int, ...]:
    return layout.torch(np.broadcast_to(np.float32(0), shape)).shape


def convert(tensors: Mapping[str, np.ndarray], table: Table, shapes: Shapes, what: str) -> Converted:
    """Our parameters from the tensors of a file, complete both ways.

    Args:
        tensors: by name; float32 or a type that float32 holds, in PyTorch's layouts.
        table: the rows of the format.
        shapes: of our parameters, by path.
        what: the beginning of an error message: the file, and what it was taken for.

    Raises:
        InputError: unknown, missing, misshapen or non-finite tensors; lists the first few of each.
    """
    slots = plan(table.rows, shapes)
    unused: dict[str, int] = {}
    unknown = []
    for name in tensors.keys() - slots.keys():
        reason = _reason(name, table.unused)
        if reason is None:
            unknown.append(name)
        else:
            unused[reason] = unused.get(reason, 0) + 1
    problems = _problems(tensors, slots, unknown)
    if problems:
        raise InputError(f"{what}: {'; '.join(problems)}")
    return Converted(_gather(tensors, slots, shapes), len(slots), unused)


def revert(arrays: Mapping[str, np.ndarray], rows: tuple[Row, ...]) -> dict[str, np.ndarray]:
    """PyTorch's tensors of our parameters (by path), as views: `convert` the other way."""
    slots = plan(rows, {path: array.shape for path, array in arrays.items()})
    return {
        name: slot.layout.torch(arrays[slot.path] if slot.index is None else arrays[slot.path][slot.index])
        for name, slot in slots.items()
    }


def _reason(name: str, unused: Mapping[str, str]) -> str | None:
    return next((reason for pattern, reason in unused.items() if re.fullmatch(pattern, name)), None)


def _problems(tensors: Mapping[str, np.ndarray], slots: Mapping[str, Slot], unknown: list[str]) -> list[str]:
    """What is wrong, one phrase for each kind."""
    missing = [f"{name} {list(slot.torch_shape)}" for name, slot in slots.items() if name not in tensors]
    shapes, types, values = [], [], []
    for name, slot in slots.items():
        array = tensors.get(name)
        if array is None:
            continue
        if array.shape != slot.torch_shape:
            shapes.append(f"{name} is {list(array.shape)}, not {list(slot.torch_shape)}")
        elif array.dtype.name not in ("float32", "float16", "bfloat16", "float64"):
            types.append(f"{name} is {array.dtype}")
        elif not np.isfinite(array).all():
            values.append(name)
    kinds = {
        "missing tensors": missing,
        "unknown tensors": [f"{name} {list(tensors[name].shape)}" for name in sorted(unknown)],
        "tensors of another shape": shapes,
        "tensors that are no floating-point numbers": types,
        "tensors with NaN or infinite values": values,
    }
    return [f"{len(found)} {kind} ({_first_few(found)})" for kind, found in kinds.items() if found]


def _first_few(names: list[str]) -> str:
    return ", ".join(names[:FIRST_FEW]) + (", ..." if len(names) > FIRST_FEW else "")


def _gather(
    tensors: Mapping[str, np.ndarray], slots: Mapping[str, Slot], shapes: Shapes
) -> dict[str, np.ndarray]:
    """The parameters: views of the file's tensors, except where several become one."""
    arrays: dict[str, np.ndarray] = {}
    for name, slot in slots.items():
        array = slot.layout.ours(np.asarray(tensors[name], dtype=np.float32))
        if slot.index is None:
            arrays[slot.path] = array
        else:
            whole = arrays.setdefault(slot.path, np.empty(shapes[slot.path], np.float32))
            whole[slot.index] = array
    return arrays
