"""Every stage against stored float64 numbers: parity without PyTorch (`data/make.py` made them)."""

import numpy as np
import pytest

from tests.parity import ours, seeded
from tests.parity.compare import ENCODER_TOLERANCE, HEAD_TOLERANCE, close, errors

SIZES = ["tiny", pytest.param("full", marks=pytest.mark.full)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("sam_tokens", ENCODER_TOLERANCE),
        ("hipt_tokens", ENCODER_TOLERANCE),
        ("fused", ENCODER_TOLERANCE),
        ("logits", HEAD_TOLERANCE),
        ("iou", HEAD_TOLERANCE),
    ],
)
def test_stage(name, tolerance, size):
    """Within the tolerance, and at most twice as far from float64 as PyTorch's own float32 run."""
    stored = np.load(seeded.DATA / f"{size}.npz")
    value = ours.stages(size)[name]
    value = seeded.thin(value, seeded.STEPS[size][name]) if value.ndim == 4 else value
    close(value, stored[name], tolerance)
    for error, torchs in zip(errors(value, stored[name]), stored[f"error/{name}"], strict=True):
        assert error <= 2 * torchs, f"{error:.1e} from float64, PyTorch's own float32 {torchs:.1e}"
