"""Attention with SAM's decomposed relative positions: one meaning, several implementations.

`decomposed_attention` is the only entry; `reference` states what it computes.
"""

from sampath_jax.models.attention.choice import IMPLEMENTATIONS, decomposed_attention

__all__ = ["IMPLEMENTATIONS", "decomposed_attention"]
