"""Reads a pickle without running it: containers and numbers come out, every other object stays inert.

A pickle is a small program that may call anything. Here it drives a machine that owns a stack and a memo
and calls nothing but the `builders` it was given (for PyTorch files: those of `convert.torch_file`). An
object of any other class becomes a `Foreign` that only remembers what the pickle wanted. A call that would
do something when executed, such as ``os.system``, ends the reading with a `RefusedPickleError`: no file of
weights needs one.
"""

import _compat_pickle
import pickletools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from sampath_jax.errors import InputError

#: Modules whose classes and functions only hold or make data.
DATA_MODULES = frozenset(
    {
        "argparse",
        "collections",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "numpy.random._pickle",
        "pathlib",
        "uuid",
    }
)
#: Single names that only make data.
DATA_NAMES = frozenset(
    {f"builtins.{name}" for name in ("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset")}
    | {f"builtins.{name}" for name in ("int", "list", "object", "range", "set", "slice", "str", "tuple")}
    | {f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")}
    | {"numpy.dtype", "numpy.ndarray", "torch.device", "torch.serialization._get_layout"}
    | {"_codecs.encode", "copyreg._reconstructor", "functools.partial", "types.SimpleNamespace"}
)


class RefusedPickleError(InputError):
    """The pickle asks for a call that is more than data. Nothing was executed."""


@dataclass(frozen=True)
class Global:
    """The name of a class or function. It is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    def is_data(self) -> bool:
        """True if calling it could only make a value, going by its name.

        That is: the names above, PyTorch's rebuilding of tensors, and classes (by their capital letter) of
        packages outside the standard library. It decides only whether a file deserves further trust:
        nothing is ever called.
        """
        last = self.name.rpartition(".")[2].lstrip("_")
        if self.module in DATA_MODULES or str(self) in DATA_NAMES:
            return True
        if self.module in ("torch._utils", "torch._tensor") and last.startswith("rebuild"):
            return True
        return self.module.partition(".")[0] not in (*sys.stdlib_module_names, "nt") and last[:1].isupper()


@dataclass(eq=False)
class Foreign:
    """An object that was not made: its class, and what the pickle would have put into it."""

    kind: Global
    arguments: tuple[Any, ...] = ()
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)
    state: Any = None


class _Mark:
    """Where a group of values starts on the stack."""


def load(
    file: BinaryIO,
    builders: Mapping[str, Callable[..., Any]] | None = None,
    persistent_load: Callable[[Any], Any] | None = None,
) -> Any:
    """Reads one pickle, leaving the position of `file` behind it.

    Args:
        file: positioned at the start of the pickle.
        builders: what to call for a global, by its dotted name; must check its arguments, which may be
            anything.
        persistent_load: what to call for a persistent identifier (PyTorch's storages).

    Raises:
        RefusedPickleError: the pickle asks for a call that is more than data.
        ValueError: the bytes are not one whole pickle.
    """
    machine = _Machine(builders or {}, persistent_load)
    try:
        for opcode, argument, _ in pickletools.genops(file):
            machine.do(opcode.name, argument)
        (result,) = machine.stack
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise ValueError(f"not a valid pickle: {error}") from error
    return result


class _Machine:
    """The stack machine of the pickle protocols 0 to 5, without the power to import or to call."""

    def __init__(
        self, builders: Mapping[str, Callable[..., Any]], persistent_load: Callable[[Any], Any] | None
    ) -> None:
        self.builders = builders
        self.persistent_load = persistent_load
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:
        """Executes one opcode, given by its name in `pickletools`."""
        if name in _IGNORED:
            return
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        else:
            raise ValueError(f"the pickle uses {name}, which no file of weights needs")

    def since_mark(self) -> list[Any]:
        """Takes the values above the last mark, and the mark, off the stack."""
        last = len(self.stack) - 1
        while not isinstance(self.stack[last], _Mark):
            last -= 1
            if last < 0:
                raise ValueError("not a valid pickle: no mark on the stack")
        values = self.stack[last + 1 :]
        del self.stack[last:]
        return values

    def pop(self) -> None:
        """Drops the top of the stack."""
        self.stack.pop()

    def pop_to_mark(self) -> None:
        """Drops everything above the last mark, and the mark."""
        self.since_mark()

    def make_tuple(self, size: int) -> None:
        """Replaces the top `size` values by one tuple."""
        start = len(self.stack) - size
        if start < 0:
            raise ValueError("not a valid pickle: too few values on the stack")
        self.stack[start:] = [tuple(self.stack[start:])]

    def get(self, key: Any) -> None:
        """Pushes a remembered value."""
        self.stack.append(self.memo[int(key)])

    def put(self, key: Any) -> None:
        """Remembers the top of the stack."""
        self.memo[int(key)] = self.stack[-1]

    def push_global(self, module: str, name: str) -> None:
        """Pushes a class or function by name; pickles up to protocol 2 use the names of Python 2."""
        module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
        self.stack.append(Global(_compat_pickle.IMPORT_MAPPING.get(module, module), name))

    def stack_global(self) -> None:
        """Pushes a class or function whose module and name are on the stack."""
        name, module = self.stack.pop(), self.stack.pop()
        self.push_global(str(module), str(name))

    def persistent(self, identifier: Any) -> None:
        """Pushes what a persistent identifier stands for."""
        if self.persistent_load is None:
            raise ValueError("the pickle refers to objects outside itself")
        self.stack.append(self.persistent_load(identifier))

    def call(self, function: Any, arguments: Any) -> None:
        """Pushes what one of our builders makes, or an inert object."""
        if not isinstance(function, Global) or not isinstance(arguments, list | tuple):
            raise ValueError("not a valid pickle: it calls something that is not a function")
        builder = self.builders.get(str(function))
        if builder is not None:
            self.stack.append(builder(*arguments))
        elif not function.is_data():
            raise RefusedPickleError(
                f"loading it would call {function}, which a file of weights never needs; nothing was executed"
            )
        elif str(function) == "copyreg._reconstructor" and isinstance(arguments[0], Global):
            self.stack.append(Foreign(arguments[0]))
        else:
            self.stack.append(Foreign(function, tuple(arguments)))

    def reduce(self) -> None:
        """Calls the function below the top of the stack with the tuple on top."""
        arguments, function = self.stack.pop(), self.stack.pop()
        self.call(function, arguments)

    def new_object_ex(self) -> None:
        """Makes an object from its class, arguments and keyword arguments."""
        _, arguments, kind = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.call(kind, arguments)

    def make_from_mark(self) -> None:
        """Makes an object from the class and arguments above the mark (protocol 1)."""
        kind, *arguments = self.since_mark()
        self.call(kind, arguments)

    def make_named(self, name: str) -> None:
        """Makes an object of the named class from the arguments above the mark (protocol 0)."""
        arguments = self.since_mark()
        self.push_global(*name.split(" ", 1))
        self.call(self.stack.pop(), arguments)

    def set_items(self, pairs: list[Any]) -> None:
        """Adds keys and values to the dictionary on top of the stack."""
        target = self.stack[-1]
        items = target.items if isinstance(target, Foreign) else target
        if not isinstance(items, dict):
            raise ValueError("not a valid pickle: items for something that is not a dictionary")
        items.update(zip(pairs[::2], pairs[1::2], strict=True))

    def make_dict(self) -> None:
        """Pushes a dictionary of the keys and values above the mark (protocol 0)."""
        pairs = self.since_mark()
        self.stack.append({})
        self.set_items(pairs)

    def add_elements(self, values: list[Any]) -> None:
        """Adds elements to the list or set on top of the stack."""
        target = self.stack[-1]
        elements = target.elements if isinstance(target, Foreign) else target
        if isinstance(elements, set):
            elements.update(values)
        elif isinstance(elements, list):
            elements.extend(values)
        else:
            raise ValueError("not a valid pickle: elements for something that is not a list")

    def build(self) -> None:
        """Keeps the state of an inert object; other values (an OrderedDict's attributes) need none."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], Foreign):
            self.stack[-1].state = state


_IGNORED = frozenset({"PROTO", "FRAME", "STOP"})
_LITERALS = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
    | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
    "MARK": _Mark,
}
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "POP": lambda m, _: m.pop(),
    "POP_MARK": lambda m, _: m.pop_to_mark(),
    "DUP": lambda m, _: m.stack.append(m.stack[-1]),
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.since_mark())),
    "TUPLE1": lambda m, _: m.make_tuple(1),
    "TUPLE2": lambda m, _: m.make_tuple(2),
    "TUPLE3": lambda m, _: m.make_tuple(3),
    "LIST": lambda m, _: m.stack.append(m.since_mark()),
    "FROZENSET": lambda m, _: m.stack.append(frozenset(m.since_mark())),
    "DICT": lambda m, _: m.make_dict(),
    "SETITEM": lambda m, _: m.set_items([m.stack.pop(-2), m.stack.pop()]),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    "APPEND": lambda m, _: m.add_elements([m.stack.pop()]),
    "APPENDS": lambda m, _: m.add_elements(m.since_mark()),
    "ADDITEMS": lambda m, _: m.add_elements(m.since_mark()),
    "GLOBAL": lambda m, name: m.push_global(*name.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.stack_global(),
    "REDUCE": lambda m, _: m.reduce(),
    "NEWOBJ": lambda m, _: m.reduce(),
    "NEWOBJ_EX": lambda m, _: m.new_object_ex(),
    "OBJ": lambda m, _: m.make_from_mark(),
    "INST": _Machine.make_named,
    "BUILD": lambda m, _: m.build(),
    "PERSID": _Machine.persistent,
    "BINPERSID": lambda m, _: m.persistent(m.stack.pop()),
}
