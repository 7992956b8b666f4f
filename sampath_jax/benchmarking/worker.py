"""A process that measures one subject: `python -m sampath_jax.benchmarking.worker REQUEST`.

It answers on standard output, one JSON object a line: first what it has made ready, then the seconds of each
repetition that a line "run" on standard input asks for, and at "end" how much memory it used.
"""

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sampath_jax.benchmarking import memory
from sampath_jax.benchmarking.work import OURS, PEAK, TORCH, Request, Work
from sampath_jax.config import from_json
from sampath_jax.freed_memory import keep_freed_memory


def main() -> None:
    """Serves until "end" or the end of the input."""
    # Whatever a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = Request(**json.loads(sys.argv[1]))

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    work = prepare(request)
    answer(
        tiles=work.tiles,
        flops=work.flops,
        compile_seconds=work.compile_seconds,
        program_bytes=work.program_bytes,
        dtype=work.dtype,
    )
    for line in sys.stdin:
        if line.strip() == "end":
            break
        started, processor = time.perf_counter(), time.process_time()
        result = work.run()
        seconds = time.perf_counter() - started
        value = result if request.subject == PEAK else None
        answer(seconds=seconds, cpu_seconds=time.process_time() - processor, value=value)
    answer(host_bytes=memory.peak_host_bytes(), device_bytes=_device_bytes(request.contestant))


def prepare(request: Request) -> Work:
    """Makes the subject ready, importing only the framework that it runs in."""
    config = from_json(request.config)
    if request.contestant != TORCH[0]:  # the original leaves the allocator as it is
        keep_freed_memory()
    if request.subject == "data":
        from sampath_jax.benchmarking import data_work

        return data_work.prepare(request.contestant, config)
    ours = request.contestant == OURS
    if ours and request.cache:
        from sampath_jax import compilation_cache

        compilation_cache.enable(Path(request.cache))
    if request.subject == PEAK:
        from sampath_jax.benchmarking import peak

        dtype = request.model["encoder_dtype"]
        return Work(peak.jax_peak(dtype) if ours else peak.torch_peak(dtype), dtype=dtype)
    if ours:
        from sampath_jax.benchmarking import jax_work

        return jax_work.prepare(request.subject, config, request.batch)
    from sampath_jax.benchmarking import torch_work

    model = json.loads(json.dumps(request.model), object_hook=lambda fields: SimpleNamespace(**fields))
    best = request.contestant == "torch-best"
    return torch_work.prepare(request.subject, config, model, request.batch, best=best)


def _device_bytes(contestant: str) -> int | None:
    if contestant not in TORCH:
        return memory.peak_device_bytes()
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


if __name__ == "__main__":
    main()
