"""Reference numbers that may lie beside the checkout; tests that use them are skipped where they do not."""

from pathlib import Path

import pytest

_FOLDER = Path(__file__).resolve().parents[2] / "shared"

#: The folder of reference numbers and sample tiles, or None.
SHARED: Path | None = _FOLDER if _FOLDER.is_dir() else None

needs_shared = pytest.mark.skipif(
    SHARED is None, reason="the folder of reference numbers is not beside the checkout"
)
