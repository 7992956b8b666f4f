"""A loop whose results take the place of what it works on."""

from collections.abc import Callable

from jax import lax
from jaxtyping import Array, Shaped


def map_in_place(
    function: Callable[..., Array], x: Shaped[Array, "n ..."], *others: Shaped[Array, "n ..."]
) -> Shaped[Array, "n ..."]:
    """`lax.map` of a function that returns the shape and type of its first argument.

    `lax.map` fills an array for the results with zeros. These depend on nothing, so XLA makes those of every
    layer when the program starts and keeps them till each is used: 107 MB in the encoders.
    """

    def replace(i: Array, x: Array) -> Array:
        items = (lax.dynamic_index_in_dim(array, i, keepdims=False) for array in (x, *others))
        return lax.dynamic_update_index_in_dim(x, function(*items), i, 0)

    return lax.fori_loop(0, len(x), replace, x)
