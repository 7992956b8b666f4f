"""CRAG, glands of colon cancer at 20x (SAM-Path, section 3; hyper-parameters of the released code).

    python -m sampath_jax.train --config configs/crag.py

The data set is the published one with gland instances merged: 173 training images of about 1536x1536 in five
folds (138 train, fold 0's 35 validate), 40 test images. The paper reports a test Dice of 0.8841; its "IOU" of
0.8831 is gland recall.
"""

from ml_collections import ConfigDict

from configs import labels, released
from sampath_jax.config import base_config


def get_config() -> ConfigDict:
    """SAM-Path on CRAG as published."""
    c = base_config()
    c.name = "crag"
    released.share(c)

    c.data.root = "data/crag"
    c.data.layout = "published"
    c.data.val_fold = 0  # released configuration; fold -1 is the official test split
    c.data.canvas = (1536, 1536)  # released configuration; sides are 1509 to 1537 as downloaded
    c.data.classes, c.data.ignored = labels.CRAG  # section 3.1: instances merged into one class
    c.data.mpp = 0.5  # 20x, section 3.1

    c.loss.alpha = 0.125  # figure 4, left: the best for CRAG
    c.loss.beta = 0.0  # figure 4, right: the best for CRAG; the IoU head is not trained

    # Released configuration: 60 epochs of 23 steps, warm-up of 46 steps, drops at steps 1150 and 1265.
    c.optim.batch_size = 6
    c.optim.accumulate = 1
    c.optim.epochs = 60.0
    c.optim.warmup_epochs = 2.0
    c.optim.drop_epochs = (50.0, 55.0)

    c.eval.published_ignored_class = 1  # the published metrics drop background pixels
    return c
