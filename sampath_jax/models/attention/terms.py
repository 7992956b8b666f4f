"""SAM's position bias by row and by column: two terms per query, from which no N x N bias need be made.

The bias of a query for a key is rows[row of the key] + columns[column of the key]. Heads come before tokens
here: every product then has its operands in one piece.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from sampath_jax.models.attention.reference import differences, pairs

#: Per query, the bias of each key row and of each key column.
Terms = tuple[Float[Array, "B heads N h"], Float[Array, "B heads N w"]]


def position_terms(
    q: Float[Array, "B heads N d"], rel_h: Float[Array, "rh d"], rel_w: Float[Array, "rw d"]
) -> Terms:
    """The terms in float32, from the unscaled query: one product per row of the grid and one per column."""
    by_row, by_column = pairs(rel_h), pairs(rel_w)
    grid = _grid(q, len(by_row), len(by_column))
    rows = jnp.einsum("bnyxd,yjd->bnyxj", grid, by_row, preferred_element_type=jnp.float32)
    columns = jnp.einsum("bnyxd,xjd->bnyxj", grid, by_column, preferred_element_type=jnp.float32)
    return _sequence(rows), _sequence(columns)


def looked_up_terms(
    q: Float[Array, "B heads N d"], rel_h: Float[Array, "rh d"], rel_w: Float[Array, "rw d"]
) -> Terms:
    """The same for windows on CPUs: one product with every difference, of which each query takes its own.

    It computes twice as much, but windows are many, and a product for each of their rows is small.
    """
    h, w = ((len(table) + 1) // 2 for table in (rel_h, rel_w))
    grid = _grid(q, h, w)
    rows = jnp.einsum("bnyxd,rd->bnyxr", grid, rel_h, preferred_element_type=jnp.float32)
    columns = jnp.einsum("bnyxd,rd->bnyxr", grid, rel_w, preferred_element_type=jnp.float32)
    own_rows, own_columns = differences(h)[:, None], differences(w)
    return (
        _sequence(jnp.take_along_axis(rows, own_rows[None, None], axis=-1)),
        _sequence(jnp.take_along_axis(columns, own_columns[None, None, None], axis=-1)),
    )


def _grid(q: Array, h: int, w: int) -> Array:
    return q.reshape(*q.shape[:2], h, w, q.shape[-1])


def _sequence(grid: Array) -> Array:
    return grid.reshape(*grid.shape[:2], -1, grid.shape[-1])
