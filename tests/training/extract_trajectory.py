"""Thins the small reference run to what `test_trajectory.py` compares with.

    python -m tests.training.extract_trajectory ../shared/reference/small.npz

Writes `trajectory.npz` beside this file: encoder features, labels and parameters before the first step
(float32), and of the published training the losses, gradient norms, and norms of parameters and changes.
"""

import sys
from pathlib import Path

import numpy as np

EXTRACT = Path(__file__).with_name("trajectory.npz")


def extract(small: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays to keep; norms are in the order of ``names``."""
    begin = {key.removeprefix("net/p/"): small[key] for key in small if key.startswith("net/p/")}
    names = [name for name in begin if f"train/after/{name}" in small]

    def norms(arrays) -> np.ndarray:
        return np.array([np.linalg.norm(array.astype(np.float64)) for array in arrays])

    tokens = small["net/sam_tokens"], small["net/hipt_tokens"].reshape(4, 10, 10, -1)
    return {f"begin/{name}": array for name, array in begin.items()} | {
        "features": np.concatenate(tokens, axis=-1),
        "labels": small["net/label"],
        "losses": small["train/loss"],
        "rates": small["train/lr"],
        "names": np.array(names),
        "gradient_norms": norms(small[f"loss/grad_p/{name}"] for name in names),
        "final_norms": norms(small[f"train/after/{name}"] for name in names),
        "change_norms": norms(small[f"train/after/{name}"] - begin[name] for name in names),
    }


if __name__ == "__main__":
    with np.load(sys.argv[1]) as archive:
        np.savez_compressed(EXTRACT, **extract(dict(archive)))
