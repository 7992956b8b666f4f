"""Segment-everything on BCSS: overlays like figure 3. SAM knows no classes: no score (table 1, note 1).

python -m sampath_jax.baseline --config configs/baselines/bcss_everything.py --workdir runs/bcss_everything
"""

from ml_collections import ConfigDict

from configs import bcss


def get_config() -> ConfigDict:
    """SAM's automatic masks with its default thresholds."""
    c = bcss.get_config()
    c.name = "bcss_everything"
    c.baseline.prompts = "everything"
    return c
