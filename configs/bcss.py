"""BCSS, five tissue classes at 40x (SAM-Path, section 3; hyper-parameters of the released code).

    python -m sampath_jax.train --config configs/bcss.py --workdir runs/bcss

The data set is the published one: 1024x1024 tiles, masks grouped into five values, `cv.csv` with 1720
training, 431 validation (fold 0) and 978 test tiles. The paper reports test Dice 0.7949 and IoU 0.6596.
For less memory halve `optim.batch_size` and double `optim.accumulate`.
"""

from ml_collections import ConfigDict

from configs import labels
from sampath_jax.config import base_config


def get_config() -> ConfigDict:
    """SAM-Path on BCSS as published."""
    c = base_config()
    c.name = "bcss"

    c.data.root = "data/bcss"
    c.data.layout = "published"
    c.data.val_fold = 0  # released configuration; fold -1 is the official test split
    c.data.canvas = (1024, 1024)  # released configuration
    c.data.classes, c.data.ignored = labels.BCSS_PUBLISHED  # section 3.1: four major classes and "others"
    c.data.mpp = 0.25  # 40x, section 3.1

    c.model.encoders = ("sam", "hipt")  # section 2: SAM ViT-B and HIPT's 256-pixel ViT-S, both frozen
    c.model.sam, c.model.hipt = "vit_b", "vit_s"
    c.model.input_size = (1024, 1024)  # SAM's own
    c.weights.sam, c.weights.hipt = "weights/sam_vit_b", "weights/hipt_vit_s"

    c.loss.alpha = 0.25  # figure 4, left: the best for BCSS
    c.loss.beta = 0.0625  # figure 4, right: the best for BCSS
    c.loss.unlabelled = "published"  # so that loss curves compare with the released code's

    # Released configuration: AdamW, 72 optimiser steps per epoch, drops at steps 1800 and 2088, 32 epochs.
    c.optim.learning_rate = 1e-4
    c.optim.weight_decay = 1e-2
    c.optim.batch_size = 12
    c.optim.accumulate = 2
    c.optim.epochs = 32.0
    c.optim.warmup_epochs = 1.0
    c.optim.drop_epochs = (25.0, 29.0)
    c.optim.drop_factor = 0.1
    return c
