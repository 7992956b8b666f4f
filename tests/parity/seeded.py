"""What the numbers in `data/` were computed on: seeded weights and a made-up image, from numpy alone."""

from pathlib import Path

import numpy as np

from sampath_jax.initial_values import random_weights
from sampath_jax.models.abstract import shapes_of
from sampath_jax.models.config import HiptConfig, SamEncoderConfig, SamPathConfig
from sampath_jax.weights import abstract_model

DATA = Path(__file__).with_name("data")
SEED = 20
#: Images that PyTorch's error of the IoU predictions was measured on; the stored numbers are of the first.
IMAGES = 8

SIZES = {
    "tiny": SamPathConfig(4, sam=SamEncoderConfig.tiny(), hipt=HiptConfig.tiny(), input_size=(256, 256)),
    "full": SamPathConfig(4),
}
#: Which rows and columns of each output are stored.
STEPS = {
    "tiny": {"sam_tokens": 2, "hipt_tokens": 2, "fused": 3, "logits": 3},
    "full": {"sam_tokens": 9, "hipt_tokens": 7, "fused": 8, "logits": 9},
}


def weights(config: SamPathConfig) -> dict[str, np.ndarray]:
    """Every parameter of SAM-Path by path; none is trivial."""
    return random_weights(shapes_of(abstract_model(config)), SEED)


def image(config: SamPathConfig, number: int = 0) -> np.ndarray:
    """uint8 [1, H, W, 3]: flat patches of colour in several sizes, with noise."""
    generator = np.random.default_rng(SEED + number)
    height, width = config.input_size
    total = generator.normal(128, 25, (height, width, 3))
    for side in (8, 32, 128):
        patches = generator.normal(0, 35, (height // side + 1, width // side + 1, 3))
        total += patches.repeat(side, axis=0).repeat(side, axis=1)[:height, :width]
    return np.clip(total, 0, 255).astype(np.uint8)[None]


def thin(grid: np.ndarray, step: int) -> np.ndarray:
    """Every `step`-th row and column of [B, h, w, C], not beginning at the first."""
    return np.asarray(grid)[:, step // 2 :: step, step // 3 :: step]
