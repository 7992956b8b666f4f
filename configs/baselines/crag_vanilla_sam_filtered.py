"""Vanilla SAM on CRAG with the paper's post-processing (SAM-Path, section 3.2; table 1, row 2).

    python -m sampath_jax.baseline --workdir runs/crag_sam_filtered
        --config configs/baselines/crag_vanilla_sam_filtered.py

Masks that occupy more than half of the image are dropped. The paper reports a test Dice of 0.6598.
"""

from ml_collections import ConfigDict

from configs.baselines import crag_vanilla_sam


def get_config() -> ConfigDict:
    """Row 1 with the filter."""
    c = crag_vanilla_sam.get_config()
    c.name = "crag_vanilla_sam_filtered"
    c.baseline.largest_share = 0.5
    return c
