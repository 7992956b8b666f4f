"""SAM-Path in JAX: click-free semantic segmentation of digital pathology."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sampath_jax.ensemble import Places
    from sampath_jax.prompting.predictor import PromptableSam
    from sampath_jax.segmenter import Segmenter

__version__ = "0.1.0"


def load(workdir: "Places", checkpoint: str = "best", **options: Any) -> "Segmenter":
    """A trained model, or an ensemble, ready to segment images: see `sampath_jax.segmenter.Segmenter`.

        segmenter = sampath_jax.load("runs/bcss")
        mask, probabilities = segmenter.predict("tile.png")
        segmenter.overlay("tile.png", mask)

    Args:
        workdir: folder of `sampath_jax.train` or of a converted checkpoint. The folder of a sweep, or a list
            of folders: the mean of their heads, which must share their encoders.
        checkpoint: ``best`` on validation, ``last``, or the step of one that is kept.
        options: of `Segmenter.load`.
    """
    from sampath_jax.segmenter import Segmenter  # JAX is imported when a model is wanted, not before

    return Segmenter.load(workdir, checkpoint, **options)


def load_sam(weights: str | Path, **options: Any) -> "PromptableSam":
    """Promptable SAM from a folder written by ``python -m convert.sam``.

        sam = sampath_jax.load_sam("weights/sam_vit_b")
        masks = sam.predict(image, points=[[420, 310]]).best()
        everything = sam.segment_everything(image).masks

    Args:
        weights: the folder.
        options: of `PromptableSam.load`: how the encoder computes.
    """
    from sampath_jax.prompting.predictor import PromptableSam

    return PromptableSam.load(weights, **options)
