"""CRAG without SAM's image encoder: the paper's "SAM-Path w.o. F_s", table 1.

python -m sampath_jax.train --config configs/crag_hipt_only.py
"""

from ml_collections import ConfigDict

from configs import crag


def get_config() -> ConfigDict:
    """`configs/crag.py` with the pathology encoder alone; the mask decoder still starts from SAM's."""
    c = crag.get_config()
    c.name = "crag_hipt_only"
    c.model.encoders = ("hipt",)
    return c
