"""Our side of the comparison, computed once for all tests of a size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sampath_jax.models.config import SamPathConfig
from sampath_jax.models.sam_path import SamPath
from sampath_jax.weights import abstract_model, fill
from tests.parity import seeded


def model(config: SamPathConfig) -> SamPath:
    return fill(abstract_model(config), seeded.weights(config))


@functools.cache
def stages(size: str) -> dict[str, np.ndarray]:
    """Every stage of SAM-Path on the seeded image."""
    config = seeded.SIZES[size]

    @jax.jit
    def run(model, images):
        features = model.encode(images)
        return features, model.neck(features), *model.decode(features)

    features, fused, logits, iou = map(np.asarray, run(model(config), jnp.asarray(seeded.image(config))))
    sam, hipt = np.split(features, [config.sam.width], axis=-1)
    return {"sam_tokens": sam, "hipt_tokens": hipt, "fused": fused, "logits": logits, "iou": iou}
