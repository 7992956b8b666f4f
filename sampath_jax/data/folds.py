"""Folds drawn per slide: no slide lies in two folds, and each holds about the same share of every class."""

from collections.abc import Mapping

import numpy as np

from sampath_jax.errors import InputError


def draw_folds(contents: Mapping[str, np.ndarray], count: int, seed: int) -> dict[str, int]:
    """Deals slides to `count` folds.

    Greedy: the slides with most come first; each goes where it evens out the folds best, measured by the sum,
    over what is counted (pixels of each class, tiles), of the squared share that a fold holds of it. The seed
    shifts the order a little, so that another seed gives other folds.

    Args:
        contents: of each slide, what is to be evened out: an array of counts, the same length for all.
        count: number of folds.
        seed: of the draw.

    Raises:
        InputError: fewer slides than folds.
    """
    if len(contents) < count:
        raise InputError(
            f"{len(contents)} slides cannot be dealt to {count} folds; ask for fewer: --count-folds"
        )
    slides = sorted(contents)
    counts = np.stack([contents[slide] for slide in slides]).astype(np.float64)
    shares = counts / np.maximum(counts.sum(0), 1)
    jitter = np.random.default_rng(seed).uniform(0.8, 1.25, len(slides))
    held = np.zeros((count, shares.shape[1]))
    folds = {}
    for i in np.argsort(-shares.sum(1) * jitter, kind="stable"):
        # (held + share)^2 - held^2, without the part that all folds have in common
        fold = int(np.argmin(held @ shares[i]))
        held[fold] += shares[i]
        folds[slides[i]] = fold
    return folds
