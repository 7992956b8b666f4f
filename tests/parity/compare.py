"""How parity is measured."""

import numpy as np

#: Largest difference, as a part of the largest reference value.
ENCODER_TOLERANCE, HEAD_TOLERANCE = 1e-5, 1e-4


def errors(value, reference) -> tuple[float, float]:
    """The largest and the root mean square difference, as parts of the largest reference value."""
    difference = np.asarray(value, np.float64) - np.asarray(reference, np.float64)
    scale = np.abs(reference).max()
    return float(np.abs(difference).max() / scale), float(np.sqrt((difference**2).mean()) / scale)


def close(value, reference, tolerance: float) -> None:
    assert np.shape(value) == np.shape(reference)
    largest, _ = errors(value, reference)
    assert largest <= tolerance, f"{largest:.1e} of the largest value, allowed {tolerance:.0e}"
