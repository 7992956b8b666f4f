"""BCSS without the pathology encoder: the paper's "Fine-tuned SAM (w.o. F_p)", table 1.

python -m sampath_jax.train --config configs/bcss_sam_only.py
"""

from ml_collections import ConfigDict

from configs import bcss


def get_config() -> ConfigDict:
    """`configs/bcss.py` with SAM's encoder and SAM's own neck, both frozen: only the mask decoder learns."""
    c = bcss.get_config()
    c.name = "bcss_sam_only"
    c.model.encoders = ("sam",)
    c.model.train_neck = False  # released code: SAM's neck keeps its pretrained weights
    return c
