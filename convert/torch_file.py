"""Reads what `torch.save` wrote, without PyTorch and without executing anything.

Both containers: the zip archive of PyTorch 1.6 and later (``data.pkl`` and one uncompressed record per
storage), and the older stream of pickles followed by the storages. The pickles are read by
`convert.inert_pickle`. Every tensor becomes a read-only array that *views* the memory-mapped file, so that
opening a file costs no memory.
"""

import io
import math
import mmap
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from convert import inert_pickle
from convert.inert_pickle import Global

#: The first object of the older format, written by `torch.save` before version 1.6.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
#: Bytes of the element count that precedes each storage of the older format.
LEGACY_COUNT = 8
#: Fixed part of a local file header in a zip archive; its last four bytes are the lengths of what follows.
ZIP_HEADER = 30

#: Element types by the name of the storage class, or of the `torch.dtype`.
DTYPES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "DoubleStorage": np.dtype(np.float64),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
    "ComplexFloatStorage": np.dtype(np.complex64),
    "UntypedStorage": np.dtype(np.uint8),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float64": np.dtype(np.float64),
    "int64": np.dtype(np.int64),
    "uint16": np.dtype(np.uint16),
    "uint32": np.dtype(np.uint32),
    "uint64": np.dtype(np.uint64),
}


def read_zip(path: Path) -> Any:
    """What the zip archive at `path` holds: containers, numbers, and an array for every tensor.

    Raises:
        ValueError: not a file of `torch.save`, or damaged.
        InputError: a pickle that would execute code.
    """
    return _ZipFile(path).load()


def read_legacy(path: Path) -> Any:
    """The same for the format before PyTorch 1.6."""
    with path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if inert_pickle.load(file) != LEGACY_MAGIC:
            raise ValueError("it is a pickle, but not one that torch.save wrote")
        inert_pickle.load(file)  # version of the protocol
        inert_pickle.load(file)  # byte order and sizes of the writing machine
        start = file.tell()
        storages: dict[str, np.dtype] = {}
        inert_pickle.load(file, persistent_load=lambda pid: _note_storage(pid, storages))
        keys = inert_pickle.load(file)
        arrays = _legacy_arrays(view, file.tell(), [str(key) for key in keys], storages)
        file.seek(start)
        return inert_pickle.load(file, _BUILDERS, lambda pid: arrays[_parse_storage(pid).key])


def _note_storage(identifier: Any, storages: dict[str, np.dtype]) -> None:
    storage = _parse_storage(identifier)
    storages[storage.key] = storage.dtype


def _legacy_arrays(
    view: mmap.mmap, position: int, keys: list[str], storages: dict[str, np.dtype]
) -> dict[str, np.ndarray]:
    """One array per storage; they follow each other, each after its count of elements."""
    arrays = {}
    for key in keys:
        count = int.from_bytes(view[position : position + LEGACY_COUNT], "little")
        position += LEGACY_COUNT
        arrays[key] = _view(view, position, count, storages[key])
        position += arrays[key].nbytes
    return arrays


@dataclass(frozen=True)
class _Storage:
    """A persistent identifier: which storage, and what its bytes mean."""

    dtype: np.dtype
    key: str
    count: int


def _parse_storage(identifier: Any) -> _Storage:
    """Reads ``('storage', class, key, device, element count, ...)``."""
    match identifier:
        case ("storage", Global(_, kind), str(key), _, int(count), *view) if view in ([], [None]):
            if kind not in DTYPES:
                raise ValueError(f"it holds tensors of a type that is not read here ({kind})")
            return _Storage(DTYPES[kind], key, count)
    raise ValueError("it refers to a storage in an unknown way")


def _view(view: mmap.mmap, position: int, count: int, dtype: np.dtype) -> np.ndarray:
    """`count` elements of the mapped file, from byte `position`."""
    if count < 0 or position + count * dtype.itemsize > len(view):
        raise ValueError("the file ends before its tensors do; it is cut off")
    return np.frombuffer(view, dtype, count, position)


class _ZipFile:
    """An archive of `torch.save`, mapped into memory."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self.archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise ValueError("the file is cut off: its table of contents, at the end, is missing") from error
        pickles = [
            name for name in self.archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1
        ]
        if len(pickles) != 1:
            raise ValueError("it is a zip archive, but not one that torch.save wrote (no data.pkl inside)")
        self.folder = pickles[0].removesuffix("data.pkl")
        self.storages: dict[str, np.ndarray] = {}
        if f"{self.folder}constants.pkl" in self.archive.namelist():
            raise ValueError("it is a TorchScript program; save its state_dict() instead")

    def load(self) -> Any:
        """The saved object."""
        order = f"{self.folder}byteorder"
        if order in self.archive.namelist() and self.archive.read(order) != b"little":
            raise ValueError("it was written on a big-endian machine; save it again on another")
        return inert_pickle.load(io.BytesIO(self.record("data.pkl").tobytes()), _BUILDERS, self.storage)

    def record(self, name: str) -> np.ndarray:
        """The bytes of one record: a view of the file, unless someone has compressed the archive again."""
        try:
            info = self.archive.getinfo(self.folder + name)
            if info.compress_type != zipfile.ZIP_STORED:
                return np.frombuffer(self.archive.read(info), np.uint8)
        except (KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"its record {name} is missing or damaged ({error})") from error
        header = self.view[info.header_offset : info.header_offset + ZIP_HEADER]
        extra = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        data = _view(self.view, info.header_offset + ZIP_HEADER + extra, info.file_size, np.dtype(np.uint8))
        if zlib.crc32(data.data) != info.CRC:
            raise ValueError(f"its record {name} is damaged (wrong checksum)")
        return data

    def storage(self, identifier: Any) -> np.ndarray:
        """The elements of a storage, read and checked once."""
        wanted = _parse_storage(identifier)
        if wanted.key not in self.storages:
            self.storages[wanted.key] = self.record(f"data/{wanted.key}")
        data = self.storages[wanted.key]
        if wanted.count * wanted.dtype.itemsize > len(data):
            raise ValueError(f"its record data/{wanted.key} is too short")
        return data[: wanted.count * wanted.dtype.itemsize].view(wanted.dtype)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> np.ndarray:
    """An array over part of a storage: `offset` and `strides` count elements.

    Raises:
        ValueError: the array would reach outside its storage.
    """
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, np.ndarray) or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise ValueError("it describes a tensor in an unknown way")
    if len(shape) != len(strides):
        raise ValueError("it describes a tensor whose strides do not fit its shape")
    if math.prod(shape) == 0:
        return np.empty(shape, storage.dtype)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if last >= len(storage):
        raise ValueError("it describes a tensor that reaches outside its storage")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)


def _rebuild_typed(
    storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
):
    """The same for a storage of bytes, with the element type given apart."""
    if not isinstance(dtype, Global) or dtype.name not in DTYPES or not isinstance(storage, np.ndarray):
        raise ValueError(f"it holds a tensor of a type that is not read here ({dtype})")
    return _rebuild_tensor(storage.view(DTYPES[dtype.name]), offset, shape, strides)


def _first(tensor: Any, *_: Any) -> Any:
    """A parameter is its tensor."""
    return tensor


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    return dict(pairs)


def _rebuild_subclass(function: Any, _kind: Any, arguments: Any, *_: Any) -> Any:
    """A tensor with attributes of its own is its tensor."""
    return _BUILDERS[str(function)](*arguments)


#: Everything that a file can make: dictionaries and arrays.
_BUILDERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_typed,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _rebuild_subclass,
}
