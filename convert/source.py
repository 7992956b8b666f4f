"""Opens a file of weights in whatever container it has, or says in plain words why it cannot be read."""

import hashlib
import json
import math
import mmap
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from convert.inert_pickle import Foreign, RefusedPickleError
from convert.torch_file import read_legacy, read_zip
from sampath_jax.errors import InputError

#: Element types of a safetensors file that weights come in.
SAFETENSORS_DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
#: Bytes of the number that says how long the header of a safetensors file is.
HEADER_LENGTH = 8
#: A state dict inside a training checkpoint is found under one of these.
STATE_KEYS = ("state_dict", "model_state", "model_state_dict", "model")


#: How the names of a kind of file begin, and the command that reads it.
KINDS = {
    r"model\.(model|extra_encoder|fusion_neck)\.": "It looks like a SAM-Path checkpoint: use convert.sampath",
    r"(module\.|sam\.)*(image_encoder|vision_encoder|mask_decoder)\.": "It looks like SAM: use convert.sam",
    r"(module\.|backbone\.)*(cls_token|blocks\.0\.)": "It looks like a vision transformer: use convert.hipt",
}


@dataclass(frozen=True)
class Source:
    """A file of weights: `content` is what was saved, with a read-only view of the file for every tensor."""

    path: Path
    format: str
    sha256: str
    content: Any


def open_source(path: Path) -> Source:
    """Opens `path`, a file of `torch.save` or safetensors. Nothing in it is executed.

    Raises:
        InputError: no such file, empty, cut off, not a file of weights, or one that would execute code.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    start = _first_bytes(path)
    try:
        if start.startswith(b"PK"):
            return Source(path, "torch zip", _sha256(path), read_zip(path))
        if start.startswith(b"\x80"):
            return Source(path, "torch legacy", _sha256(path), read_legacy(path))
        if start[8:9] == b"{":
            return Source(path, "safetensors", _sha256(path), read_safetensors(path))
    except RefusedPickleError as error:
        raise InputError(
            f"{path} is refused: {error}. Get the file from its publisher, or save its state_dict() alone"
        ) from error
    except ValueError as error:
        raise InputError(
            f"{path} cannot be read: {error}. Get the file again and compare its checksum with its origin's"
        ) from error
    raise InputError(f"{path} is not a file of weights: {_what_it_is(start)}")


def _first_bytes(path: Path, count: int = 512) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _what_it_is(start: bytes) -> str:
    """Says what a file that is no file of weights seems to be."""
    if not start:
        return "it is empty; get it again"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; fetch the file itself (`git lfs pull`, or the download link)"
    if start.lstrip()[:1] == b"<":
        return "it is a web page, saved in place of the file; get it again from its direct address"
    if start[257:262] == b"ustar":
        return "it is a tar archive; unpack it, or load and save it with PyTorch 1.6 or later"
    return "it starts like neither torch.save nor safetensors"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, as views of it.

    Raises:
        ValueError: cut off or damaged.
    """
    try:
        safe_open(path, "numpy")  # checks that the header is whole and covers the file
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    with path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = HEADER_LENGTH + int.from_bytes(view[:HEADER_LENGTH], "little")
    header = json.loads(view[HEADER_LENGTH:start])
    header.pop("__metadata__", None)
    return {name: _safetensor(view, start, **entry) for name, entry in header.items()}


def _safetensor(
    view: mmap.mmap, start: int, dtype: str, shape: list[int], data_offsets: tuple[int, int]
) -> np.ndarray:
    if dtype not in SAFETENSORS_DTYPES:
        raise ValueError(f"it holds tensors of a type that is not read here ({dtype})")
    return np.frombuffer(view, SAFETENSORS_DTYPES[dtype], math.prod(shape), start + data_offsets[0]).reshape(
        shape
    )


def state_dict(source: Source, keys: Sequence[str] = STATE_KEYS) -> dict[str, np.ndarray]:
    """The named tensors of a file, from the first of `keys` that its top level has, or the top level itself.

    Raises:
        InputError: there are none.
    """
    content = source.content
    if isinstance(content, Foreign):
        raise InputError(
            f"{source.path} holds a whole {content.kind}, not weights alone: save its state_dict()"
        )
    if isinstance(content, dict):
        content = next((content[key] for key in keys if isinstance(content.get(key), dict)), content)
        tensors = {name: value for name, value in content.items() if isinstance(value, np.ndarray)}
        if tensors and all(isinstance(name, str) for name in tensors):
            return tensors
    raise InputError(f"{source.path} holds no named tensors: it is not a file of weights")


def guess(names: Iterable[str]) -> str:
    """What a file with these tensors seems to be, as advice for someone who gave it to another command."""
    for pattern, advice in KINDS.items():
        if any(re.match(pattern, name) for name in names):
            return advice
    return f"Its tensors begin with {', '.join(sorted(names)[:3])}"
