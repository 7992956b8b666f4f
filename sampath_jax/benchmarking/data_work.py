"""The input pipeline in the benchmark, and beside it what no pipeline can do without: decoding the files."""

from concurrent.futures import ThreadPoolExecutor

from ml_collections import ConfigDict

from sampath_jax.benchmarking.work import DECODER, Work
from sampath_jax.data.pipeline import THREADS, BatchIterator, training_batches

#: Batches per repetition for each thread or process that loads: enough that the last ones hardly count.
BATCHES_PER_LOADER = 8


def prepare(contestant: str, config: ConfigDict) -> Work:
    """The pipeline, or `DECODER` alone, on the same tiles with as many threads or processes.

    Every repetition starts with empty queues and ends with empty queues, so that nothing is loaded while
    others are measured. The start of worker processes (`config.data.workers`) counts.
    """
    load = training_batches(config).load
    workers = config.data.workers
    loaders = workers or THREADS
    batches = BATCHES_PER_LOADER * loaders
    rows = [load.plan.rows(batch) for batch in range(batches)]
    tiles = [int(i) for row in rows for i in row.index[row.valid]]

    def pipeline() -> None:
        for _ in BatchIterator(load, batches, workers):
            pass

    def decode(i: int) -> None:
        load.source[i]

    def decoder() -> None:
        with ThreadPoolExecutor(loaders) as threads:
            for _ in threads.map(decode, tiles):
                pass

    return Work(decoder if contestant == DECODER else pipeline, tiles=len(tiles))
