"""How far scores would vary had other slides been drawn.

Pixels of a tile and tiles of a slide look alike, so they are not independent samples: whole slides are
drawn with replacement, their counts pooled, and every score computed again. Without slide names each tile
is a slide of its own.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int

from sampath_jax.evaluation.metrics import Scores

#: Draws; the limits of a 95 % interval then vary by about 2 % of its width between seeds.
REPLICATES = 2000
#: Draws computed at a time, which bounds memory.
BLOCK = 250
#: Percent of draws below and above the interval.
LIMITS = (2.5, 97.5)

Interval = tuple[float, float]


def pool_by_slide(
    confusions: Int[np.ndarray, "n k k"], slides: Sequence[str]
) -> tuple[list[str], Int[np.ndarray, "s k k"]]:
    """Slide names in order of first appearance, and the summed counts of each."""
    names = list(dict.fromkeys(slides))
    position = {name: i for i, name in enumerate(names)}
    pooled = np.zeros((len(names), *confusions.shape[1:]), np.int64)
    np.add.at(pooled, [position[slide] for slide in slides], confusions)
    return names, pooled


def intervals(
    pooled: Int[np.ndarray, "s k k"],
    score: Callable[[Int[np.ndarray, "r k k"]], dict[str, np.ndarray]],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Interval]:
    """95 % percentile intervals of every score that `score` gives for a stack of pooled counts.

    A draw in which a score is not defined (a class that none of its slides has) is left out for that score.
    With fewer than two slides there is nothing to draw from: every interval is (NaN, NaN).
    """
    units = len(pooled)
    generator = np.random.default_rng(seed)
    drawn: dict[str, list[np.ndarray]] = {}
    for start in range(0, replicates, BLOCK):
        count = min(BLOCK, replicates - start)
        times = generator.multinomial(units, np.full(units, 1 / units), size=count)
        for name, values in score(np.einsum("rs,sij->rij", times, pooled)).items():
            drawn.setdefault(name, []).append(values)
    return {name: _interval(np.concatenate(values), units) for name, values in drawn.items()}


def score_intervals(
    pooled: Int[np.ndarray, "s k k"], names: Sequence[str], *, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, Interval]:
    """`intervals` of all scores: overall ones by name, a class's as ``dice/<class>``."""

    def score(counts: Int[np.ndarray, "r k k"]) -> dict[str, np.ndarray]:
        scores = Scores.from_confusion(counts, names)
        classes = {
            f"{score}/{name}": values
            for name, by_score in scores.per_class().items()
            for score, values in by_score.items()
            if score != "pixels"
        }
        return scores.overall() | classes

    return intervals(pooled, score, replicates=replicates, seed=seed)


def _interval(values: np.ndarray, units: int) -> Interval:
    defined = values[~np.isnan(values)]
    if units < 2 or not defined.size:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, LIMITS)
    return float(low), float(high)
