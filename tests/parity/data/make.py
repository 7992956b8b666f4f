"""Makes the numbers beside this script, with PyTorch.

    python -m tests.parity.data.make tiny full

`<size>.npz` holds, thinned, what PyTorch computes in float64 (stored as float32) from the weights and the
image of `tests/parity/seeded.py`, and under `error/...` the largest and the rms error of PyTorch's own
float32 run on the same entries, as parts of the largest reference value. The IoU predictions are five numbers
an image, whose largest error is chance: theirs is taken over `seeded.IMAGES` images.
"""

import sys

import numpy as np
import torch

from tests.parity import seeded, torch_models
from tests.parity.compare import errors


def make(size: str) -> None:
    config = seeded.SIZES[size]
    values = seeded.weights(config)
    exact, single = [
        [torch_models.run(values, config, seeded.image(config, i), dtype) for i in range(seeded.IMAGES)]
        for dtype in (torch.float64, torch.float32)
    ]
    first, first_single = thinned(exact[0], size), thinned(single[0], size)
    arrays = {name: value.astype(np.float32) for name, value in first.items()}
    arrays |= {f"error/{name}": np.array(errors(first_single[name], first[name])) for name in first}
    iou, iou_single = (np.concatenate([run["iou"] for run in runs]) for runs in (exact, single))
    arrays["error/iou"] = np.array(errors(iou_single, iou))
    np.savez_compressed(seeded.DATA / f"{size}.npz", **arrays)


def thinned(stages: dict[str, np.ndarray], size: str) -> dict[str, np.ndarray]:
    return {
        name: value if value.ndim < 4 else seeded.thin(value, seeded.STEPS[size][name])
        for name, value in stages.items()
    }


if __name__ == "__main__":
    for name in sys.argv[1:]:
        make(name)
