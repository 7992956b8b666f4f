"""Synthetic tissue and tiny encoders with random weights: trains to a good score in two minutes on a laptop.

    make demo

No encoder here has ever seen an image: frozen random features and a trained head are enough for tissue this
simple. It shows the whole path, and says nothing about real slides.
"""

from ml_collections import ConfigDict

from sampath_jax.config import base_config
from sampath_jax.data.synthetic import CLASSES, IGNORED


def get_config() -> ConfigDict:
    """SAM-Path in miniature. Every number is our choice, for speed."""
    c = base_config()
    c.name = "demo"

    c.data.root = "runs/demo/data"
    c.data.layout = "published"
    c.data.canvas = (256, 256)
    c.data.classes, c.data.ignored = CLASSES, IGNORED
    c.data.workers = 0

    c.model.sam, c.model.hipt = "tiny", "tiny"
    c.model.input_size = (256, 256)
    c.weights.sam, c.weights.hipt = "random", "random"

    c.augment.crop_area = (0.5, 1.0)

    c.optim.learning_rate = 4e-4
    c.optim.batch_size = 4
    c.optim.epochs = 9.0
    c.optim.warmup_epochs = 0.5
    c.optim.drop_epochs = (6.0, 8.0)
    c.optim.drop_factor = 0.3

    c.eval.batch_size = 8
    c.mesh.data = 1  # one device is enough, and any machine then gives the same numbers
    c.log.every_steps = 12
    return c
