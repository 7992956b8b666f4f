"""Your own tiles: a template. Copy this file, change the root and the classes; nothing else needs deciding.

python -m sampath_jax.train --config configs/folder.py --workdir runs/mine --config.data.root=PATH
"""

from ml_collections import ConfigDict

from sampath_jax.config import base_config


def get_config() -> ConfigDict:
    """SAM-Path on annotated tiles in a folder."""
    c = base_config()
    c.name = "folder"

    # Where the tiles are: img/NAME.png (or .jpg, .tif), mask/NAME.png, and a table cv.csv with the columns
    # img_id,fold: fold -1 is for testing, fold 0 for validation, any other for training.
    c.data.root = "data/mine"
    c.data.layout = "published"
    # One line per class: its name, the mask values that mean it, its colour in pictures.
    c.data.classes = (
        {"name": "background", "values": (0,), "color": "#999999"},
        {"name": "foreground", "values": (1,), "color": "#009e73"},
    )
    c.data.ignored = (255,)  # mask values of pixels that nobody labelled

    # Tiles of other sizes are resized to this canvas.
    c.data.canvas = (1024, 1024)
    c.weights.sam, c.weights.hipt = "weights/sam_vit_b", "weights/hipt_vit_s"
    c.loss.alpha, c.loss.beta = 0.25, 0.0625  # figure 4 of the paper: the best for several tissue classes
    c.loss.unlabelled = "exact"

    # CRAG's schedule, which suits 100 to 1000 tiles; configs/bcss.py has the one for more.
    c.optim.learning_rate = 1e-4
    c.optim.weight_decay = 1e-2
    c.optim.batch_size = 6
    c.optim.epochs = 60.0
    c.optim.warmup_epochs = 2.0
    c.optim.drop_epochs = (50.0, 55.0)
    return c
