"""BCSS regions as downloaded: 22 codes, tiles cut and folds drawn per slide by `sampath_jax.prepare`.

python -m sampath_jax.prepare bcss --source BCSS --output data/bcss
python -m sampath_jax.train --config configs/bcss_slides.py --workdir runs/bcss
"""

from ml_collections import ConfigDict

from configs import bcss, labels


def get_config() -> ConfigDict:
    """`configs/bcss.py` on tiles whose validation slides are no training slides, grouped as in the paper."""
    c = bcss.get_config()
    c.name = "bcss_slides"
    c.data.layout = "prepared"
    c.data.classes, c.data.ignored = labels.BCSS
    return c
