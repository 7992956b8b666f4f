"""Writes what `torch.load` reads, without PyTorch: dictionaries, lists, numbers, text and arrays.

The pickle inside is written opcode by opcode, because Python's own pickler would want to import PyTorch.
"""

import io
import os
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

#: PyTorch aligns every storage, so that a file can be mapped into memory.
ALIGNMENT = 64
#: Bytes before the name of a record, and before the content of its extra field.
RECORD_HEADER, FIELD_HEADER = 30, 4
#: The storage class of an element type.
STORAGES = {"float32": "FloatStorage", "int64": "LongStorage"}


def write_torch(path: Path, content: Mapping[str, Any]) -> None:
    """Writes `content` to `path`, which appears whole or not at all.

    Args:
        path: replaced if it exists.
        content: nested mappings, lists, tuples, str, int, float, bool, None, and arrays (float32 or int64).

    Raises:
        TypeError: anything else in `content`.
    """
    pickle = _Pickle()
    pickle.value(content)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            _add(archive, f"{path.stem}/data.pkl", pickle.finish())
            _add(archive, f"{path.stem}/byteorder", b"little")
            for key, array in enumerate(pickle.arrays):
                data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
                _add(archive, f"{path.stem}/data/{key}", data.tobytes())
            _add(archive, f"{path.stem}/version", b"3\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Adds an uncompressed record whose data begins at a multiple of `ALIGNMENT`."""
    assert archive.fp is not None
    record = zipfile.ZipInfo(name)
    start = archive.fp.tell() + RECORD_HEADER + len(name) + FIELD_HEADER
    padding = -start % ALIGNMENT
    record.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    archive.writestr(record, data)


class _Pickle:
    """A pickle of protocol 2 in the making, and the arrays that it refers to."""

    def __init__(self) -> None:
        self.stream = io.BytesIO()
        self.stream.write(b"\x80\x02")
        self.arrays: list[np.ndarray] = []

    def finish(self) -> bytes:
        """The whole pickle."""
        return self.stream.getvalue() + b"."

    def value(self, value: Any) -> None:
        """Writes one value of any kind."""
        write = self.stream.write
        match value:
            case None | True | False:
                write({None: b"N", True: b"\x88", False: b"\x89"}[value])
            case int():
                data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
                write(b"\x8a" + bytes([len(data)]) + data)
            case float():
                write(b"G" + struct.pack(">d", value))
            case str():
                text = value.encode()
                write(b"X" + struct.pack("<I", len(text)) + text)
            case tuple():
                self.group(value)
                write(b"t")
            case list():
                write(b"]")
                self.group(value)
                write(b"e")
            case Mapping():
                write(b"}")
                self.group([entry for pair in value.items() for entry in pair])
                write(b"u")
            case np.ndarray():
                self.tensor(value)
            case _:
                raise TypeError(f"a {type(value).__name__} cannot be written")

    def values(self, *values: Any) -> None:
        """Writes values one after the other."""
        for value in values:
            self.value(value)

    def group(self, values: Iterable[Any]) -> None:
        """Writes a mark and the values that belong together."""
        self.stream.write(b"(")
        self.values(*values)

    def tensor(self, array: np.ndarray) -> None:
        """Writes a call of PyTorch's `_rebuild_tensor_v2` on a storage of its own."""
        key, strides = str(len(self.arrays)), np.empty(array.shape, np.int8).strides
        self.arrays.append(array)
        self.stream.write(b"ctorch._utils\n_rebuild_tensor_v2\n(")
        self.stream.write(b"(")
        self.value("storage")
        self.stream.write(f"ctorch\n{STORAGES[array.dtype.name]}\n".encode())
        self.values(key, "cpu", array.size)
        self.stream.write(b"tQ")
        self.values(0, array.shape, strides, False)
        self.stream.write(b"ccollections\nOrderedDict\n)RtR")
