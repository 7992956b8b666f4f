"""How many numbers a run's model has, and how many of them learn; shapes only, nothing is loaded."""

from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx
from ml_collections import ConfigDict

from sampath_jax.models.abstract import abstract
from sampath_jax.models.config import SamEncoderConfig, SamPathConfig
from sampath_jax.models.freezing import split_head
from sampath_jax.models.sam import Sam
from sampath_jax.weights import abstract_model


@dataclass(frozen=True)
class Parameters:
    """Numbers per part of the model."""

    trainable: dict[str, int]
    frozen: dict[str, int]

    @property
    def learning(self) -> int:
        """All that training changes."""
        return sum(self.trainable.values())

    @property
    def total(self) -> int:
        """All."""
        return self.learning + sum(self.frozen.values())


def count_parameters(config: ConfigDict, heads: int = 1) -> Parameters:
    """The parameters of the model of `config`: SAM-Path with `heads` heads, or a baseline's SAM as it is."""
    if config.baseline.prompts:
        size = getattr(SamEncoderConfig, config.model.sam)()
        sam = abstract(lambda rngs: Sam(size, rngs=rngs))
        return Parameters({}, _parts(nnx.as_pure(nnx.state(sam))))
    _, head, frozen = split_head(abstract_model(SamPathConfig.from_config(config)))
    return Parameters({name: heads * count for name, count in _parts(head).items()}, _parts(frozen))


def _parts(tree: Any) -> dict[str, int]:
    return {str(name): sum(leaf.size for leaf in jax.tree.leaves(tree[name])) for name in tree}
