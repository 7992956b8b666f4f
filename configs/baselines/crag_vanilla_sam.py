"""Vanilla SAM on CRAG: one dot per gland, every segmented object is a gland (SAM-Path, table 1, row 1).

    python -m sampath_jax.prepare crag --source CRAG --output data/crag
    python -m sampath_jax.baseline --config configs/baselines/crag_vanilla_sam.py --workdir runs/crag_sam

The dots need the instance masks that CRAG comes with; preparing it keeps them beside the tiles.
The paper reports a test Dice of 0.5245.
"""

from ml_collections import ConfigDict

from configs import crag


def get_config() -> ConfigDict:
    """SAM without training. The paper does not say which mask it takes: here the one SAM rates best."""
    c = crag.get_config()
    c.name = "crag_vanilla_sam"
    c.data.layout = "prepared"
    c.baseline.prompts = "dots"
    c.baseline.instances = "instances"
    c.baseline.object_class = "gland"
    return c
