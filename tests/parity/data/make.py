"""Makes the numbers beside this script, with PyTorch.

    python -m tests.parity.data.make tiny full

`<size>.npz` holds, thinned, what PyTorch computes in float64 (stored as float32) from the weights and the
image of `tests/parity/seeded.py`, and under `error/...` the largest and the rms error of PyTorch's own
float32 run on the same entries, as parts of the largest reference value.
"""

import sys

import numpy as np
import torch

from tests.parity import seeded, torch_models
from tests.parity.compare import errors


def make(size: str) -> None:
    config = seeded.SIZES[size]
    values, image = seeded.weights(config), seeded.image(config)
    exact = thinned(torch_models.run(values, config, image, torch.float64), size)
    single = thinned(torch_models.run(values, config, image, torch.float32), size)
    arrays = {name: value.astype(np.float32) for name, value in exact.items()}
    arrays |= {f"error/{name}": np.array(errors(single[name], value)) for name, value in exact.items()}
    np.savez_compressed(seeded.DATA / f"{size}.npz", **arrays)


def thinned(stages: dict[str, np.ndarray], size: str) -> dict[str, np.ndarray]:
    return {
        name: value if value.ndim < 4 else seeded.thin(value, seeded.STEPS[size][name])
        for name, value in stages.items()
    }


if __name__ == "__main__":
    for name in sys.argv[1:]:
        make(name)
