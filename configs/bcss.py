"""BCSS, five tissue classes at 40x (SAM-Path, section 3; hyper-parameters of the released code).

    python -m sampath_jax.train --config configs/bcss.py

The data set is the published one: 1024x1024 tiles, masks grouped into five values, `cv.csv` with 1720
training, 431 validation (fold 0) and 978 test tiles. The paper reports test Dice 0.7949 and IoU 0.6596.
For less memory halve `optim.batch_size` and double `optim.accumulate`.
"""

from ml_collections import ConfigDict

from configs import labels, released
from sampath_jax.config import base_config


def get_config() -> ConfigDict:
    """SAM-Path on BCSS as published."""
    c = base_config()
    c.name = "bcss"
    released.share(c)

    c.data.root = "data/bcss"
    c.data.layout = "published"
    c.data.val_fold = 0  # released configuration; fold -1 is the official test split
    c.data.canvas = (1024, 1024)  # released configuration
    c.data.classes, c.data.ignored = labels.BCSS_PUBLISHED  # section 3.1: four major classes and "others"
    c.data.mpp = 0.25  # 40x, section 3.1

    c.loss.alpha = 0.25  # figure 4, left: the best for BCSS
    c.loss.beta = 0.0625  # figure 4, right: the best for BCSS

    # Released configuration: 72 optimiser steps per epoch and of warm-up, drops at steps 1800 and 2088.
    c.optim.batch_size = 12
    c.optim.accumulate = 2
    c.optim.epochs = 32.0
    c.optim.warmup_epochs = 1.0
    c.optim.drop_epochs = (25.0, 29.0)
    return c
