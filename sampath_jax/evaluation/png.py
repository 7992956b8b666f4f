"""PNG files written row by row, so that an image need not be in memory to be written.

Source   Portable Network Graphics (PNG) Specification, third edition, sections 5 (chunks), 9 (filters), 11.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2
#: Filter type "up": each byte minus the one above it.
UP = 2
#: Faster than zlib's default of 6, and a few percent larger.
COMPRESSION = 4


class PngWriter:
    """Writes a grey (8 or 16 bit) or RGB (8 bit) image from top to bottom.

    The file appears under its name when it is complete (`close`); before, it has a temporary name beside it.

    Args:
        path: of the file.
        height: rows that will be written.
        width: pixels per row.
        channels: 1 or 3.
        bits: 8 or 16 per value.
    """

    def __init__(self, path: Path, height: int, width: int, channels: int = 1, bits: int = 8):
        self._path, self._temporary = path, path.with_name(f".{path.name}.part")
        self._file = open(self._temporary, "wb")  # noqa: SIM115 (closed by `close` and `discard`)
        self._deflate = zlib.compressobj(COMPRESSION)
        self._above = np.zeros(width * channels * bits // 8, np.uint8)
        self._rows_left = height
        self._file.write(SIGNATURE)
        self._chunk(
            b"IHDR", struct.pack(">IIBBBBB", width, height, bits, RGB if channels == 3 else GREY, 0, 0, 0)
        )

    def write(self, rows: UInt8[np.ndarray, "n W *C"] | UInt16[np.ndarray, "n W"]) -> None:
        """Appends `rows`."""
        big_endian = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder(">"))
        values = big_endian.view(np.uint8).reshape(len(rows), -1)
        filtered = np.empty((len(rows), values.shape[1] + 1), np.uint8)
        filtered[:, 0] = UP
        filtered[:, 1:] = values
        filtered[1:, 1:] -= values[:-1]
        filtered[:1, 1:] -= self._above
        self._above = values[-1].copy()
        self._rows_left -= len(rows)
        self._chunk(b"IDAT", self._deflate.compress(filtered.tobytes()))

    def close(self) -> None:
        """Ends the file and gives it its name."""
        assert self._rows_left == 0, f"{self._path}: {self._rows_left} rows are missing"
        self._chunk(b"IDAT", self._deflate.flush())
        self._chunk(b"IEND", b"")
        self._file.close()
        self._temporary.replace(self._path)

    def discard(self) -> None:
        """Removes what was written, unless it was closed."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _chunk(self, kind: bytes, data: bytes) -> None:
        if data or kind != b"IDAT":
            self._file.write(struct.pack(">I", len(data)) + kind + data)
            self._file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
