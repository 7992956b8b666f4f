"""The rate of matrix products alone: what a program made of them could reach on this machine."""

import time
from collections.abc import Callable
from typing import Any

#: m, k, n of the products on CPU: the encoders' own, and a large square. The best counts.
SHAPES = ((4096, 768, 3072), (4096, 2048, 2048))
#: The same for GPUs, a batch of twelve tiles and a square that fills the device.
GPU_SHAPES = ((49152, 768, 3072), (8192, 8192, 8192))
#: Products per timing on GPUs, so that starting them does not count.
GPU_REPEATS = 20


def jax_peak(dtype: str) -> Callable[[], float]:
    """A function that measures the best rate of JAX's products, in FLOP/s."""
    import jax
    import jax.numpy as jnp

    on_cpu = jax.default_backend() == "cpu"

    def make(m: int, k: int, n: int) -> Callable[[], Any]:
        a, b = (jax.random.normal(jax.random.key(i), s, dtype) for i, s in enumerate(((m, k), (k, n))))
        product = jax.jit(jnp.matmul)
        return lambda: product(a, b)

    return _rates(make, jax.block_until_ready, on_cpu)


def torch_peak(dtype: str) -> Callable[[], float]:
    """The same for PyTorch's products."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"

    def make(m: int, k: int, n: int) -> Callable[[], Any]:
        a, b = (torch.randn(s, device=device, dtype=getattr(torch, dtype)) for s in ((m, k), (k, n)))
        return lambda: a @ b

    def wait(_: Any) -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    return _rates(make, wait, device == "cpu")


def _rates(
    make: Callable[..., Callable[[], Any]], wait: Callable[[Any], Any], on_cpu: bool
) -> Callable[[], float]:
    repeats = 1 if on_cpu else GPU_REPEATS
    products = [(2 * m * k * n, make(m, k, n)) for m, k, n in (SHAPES if on_cpu else GPU_SHAPES)]

    def measure() -> float:
        rates = []
        for flops, product in products:
            started = time.perf_counter()
            for _ in range(repeats):
                result = product()
            wait(result)
            rates.append(flops * repeats / (time.perf_counter() - started))
        return max(rates)

    return measure
