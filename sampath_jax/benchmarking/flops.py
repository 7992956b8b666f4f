"""Counts the floating-point operations of matrix products in a JAX program, without running it.

Products and convolutions only, a multiplication and an addition as two: what a matrix unit does. Everything
else (normalisation, softmax, GELU) is overhead, so that "share of the peak" cannot be earned by it.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core


def matrix_flops(function: Callable[..., Any], *arguments: Any) -> int:
    """Operations of one call of `function`; `arguments` may be shapes (`jax.ShapeDtypeStruct`).

    Loops of known length (`scan`, `map`) count every pass; of branches the dearest counts.

    Raises:
        ValueError: the program has a loop of unknown length with matrix products inside.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr: core.Jaxpr) -> int:
    return sum(_count_equation(equation) for equation in jaxpr.eqns)


def _count_equation(equation: core.JaxprEqn) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        contracted = params["dimension_numbers"][0][0]
        left = _shape(equation.invars[0])
        return 2 * math.prod(_shape(equation.outvars[0])) * math.prod(left[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = _shape(equation.invars[1])
        outputs = kernel[params["dimension_numbers"].rhs_spec[0]]
        return 2 * math.prod(_shape(equation.outvars[0])) * math.prod(kernel) // outputs
    inner = [_count(jaxpr) for jaxpr in _inner(params)]
    if name == "scan":
        return params["length"] * sum(inner)
    if name == "cond":
        return max(inner)
    if name == "while" and any(inner):
        raise ValueError("a loop of unknown length contains matrix products: they cannot be counted")
    return sum(inner)


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _inner(params: dict[str, Any]) -> list[core.Jaxpr]:
    """The programs that an equation contains."""
    found = []
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                found.append(item.jaxpr)
            elif isinstance(item, core.Jaxpr):
                found.append(item)
    return found
