"""From a source to batches, in the background (Grain): read, decode, map labels, resize. No more.

Which tile stands in which row of which batch is a pure function of the seed and the batch number
(`BatchPlan`). So the position of an iterator is one number; it says nothing of workers or processes, and a
run may go on with others.

    batch   image uint8 [B,S,S,3]   label uint8 [B,S,S]   valid bool [B]   index int32 [B]   epoch int32 [B]
"""

import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import grain
import numpy as np
from absl import flags
from jaxtyping import Bool, Int32, UInt8
from ml_collections import ConfigDict

from sampath_jax.config import data_seed
from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.resize import mask_to_canvas, to_canvas
from sampath_jax.data.source import TileSource, open_source
from sampath_jax.errors import InputError

Batch = dict[str, np.ndarray]

#: Threads that load batches without worker processes, one batch each. Decoding releases the interpreter lock,
#: so they are as fast as that many processes, and save the copy between processes.
THREADS = min(8, max(2, os.cpu_count() or 2))
#: Batches that a worker process has under way at most: one in the making and one in each of Grain's buffers.
BATCHES_PER_WORKER = 4
#: Where POSIX systems keep shared memory.
SHARED_MEMORY = Path("/dev/shm")


def steps_per_epoch(config: ConfigDict, n_tiles: int) -> int:
    """Micro-batches in an epoch of `n_tiles`; the last one may be short."""
    return -(-n_tiles // config.optim.batch_size)


@dataclass(frozen=True)
class Rows:
    """The rows of one batch that one process loads."""

    index: Int32[np.ndarray, " b"]  # position in the split; 0 where not valid
    valid: Bool[np.ndarray, " b"]
    epoch: int


@dataclass(frozen=True)
class BatchPlan:
    """Which tile stands in which row: every epoch holds each tile exactly once, its last batch is padded.

    Process p of n loads rows ``p * B/n`` to ``(p+1) * B/n`` of every batch, so that the processes' rows, one
    after the other, are the batch that a single process would load.
    """

    n_tiles: int
    batch_size: int  # over all processes
    seed: int | None = None  # None: in order
    process_index: int = 0
    process_count: int = 1

    def __post_init__(self) -> None:
        if self.batch_size % self.process_count:
            raise InputError(
                f"a batch of {self.batch_size} tiles cannot be divided among {self.process_count} processes; "
                f"choose a multiple of {self.process_count}"
            )

    @property
    def batches_per_epoch(self) -> int:
        """Batches in an epoch, the padded one included."""
        return -(-self.n_tiles // self.batch_size)

    def rows(self, batch: int) -> Rows:
        """This process's rows of batch number `batch`, counted from the start of training."""
        epoch, step = divmod(batch, self.batches_per_epoch)
        share = self.batch_size // self.process_count
        positions = step * self.batch_size + self.process_index * share + np.arange(share)
        valid = positions < self.n_tiles
        index = np.where(valid, self.order(epoch)[positions % self.n_tiles], 0)
        return Rows(index.astype(np.int32), valid, epoch)

    def order(self, epoch: int) -> np.ndarray:
        """The tiles of an epoch in order, a permutation of ``range(n_tiles)``."""
        if self.seed is None:
            return np.arange(self.n_tiles)
        return np.random.default_rng([self.seed, epoch]).permutation(self.n_tiles)


@dataclass(frozen=True)
class LoadBatch:
    """Loads the rows of a batch; runs in the workers."""

    source: TileSource
    plan: BatchPlan
    labels: LabelSpec
    canvas: tuple[int, int]

    @property
    def batch_bytes(self) -> int:
        """Memory of one batch: RGB and label of each pixel."""
        return 4 * len(self.plan.rows(0).index) * self.canvas[0] * self.canvas[1]

    def __call__(self, batch: int) -> Batch:
        """Batch number `batch`. Padding rows are zeros with label 0."""
        rows = self.plan.rows(batch)
        return self.load(rows, rows.valid)

    def load(self, rows: Rows, with_image: Bool[np.ndarray, " b"]) -> Batch:
        """The batch of `rows`; images of rows that are not `with_image` are not decoded and stay zeros."""
        image = np.zeros((len(rows.index), *self.canvas, 3), np.uint8)
        label = np.zeros((len(rows.index), *self.canvas), np.uint8)
        for row in np.flatnonzero(rows.valid):
            self._load_tile(int(rows.index[row]), image[row] if with_image[row] else None, label[row])
        epoch = np.full(len(rows.index), rows.epoch, np.int32)
        return {"image": image, "label": label, "valid": rows.valid, "index": rows.index, "epoch": epoch}

    def _load_tile(
        self, i: int, image: UInt8[np.ndarray, "H W 3"] | None, label: UInt8[np.ndarray, "H W"]
    ) -> None:
        """Writes tile `i` over `label`, and over `image` if one is given."""
        if image is None:
            mask = mask_to_canvas(self.source.mask(i), self.canvas)
        else:
            tile = self.source[i]
            image[...], mask = to_canvas(tile["image"], tile["mask"], self.canvas)
        label[...] = self.labels.to_labels(mask, self.source.tiles[i].mask_name)


class BatchIterator:
    """Batches from a position on, which is the number of batches delivered, whatever workers prefetch.

    Args:
        load: makes one batch.
        batches: how many there are.
        workers: processes that load, 0 for threads of this process.
        threads: how many of them then.
    """

    def __init__(self, load: LoadBatch, batches: int, workers: int, threads: int = THREADS) -> None:
        self._load = load
        self._batches = batches
        self._workers = workers
        self._threads = threads
        self._next = 0
        self._stream: grain.DatasetIterator | None = None  # starts with the first batch

    @property
    def load(self) -> LoadBatch:
        """What makes a batch of its number."""
        return self._load

    @property
    def plan(self) -> BatchPlan:
        """Which tile stands in which row of which batch."""
        return self._load.plan

    @property
    def source(self) -> TileSource:
        """Where the tiles come from; ``batch["index"]`` counts in it."""
        return self._load.source

    def __iter__(self) -> "BatchIterator":
        return self

    def __next__(self) -> Batch:
        if self._stream is None:
            self._stream = iter(self._dataset())
        batch = next(self._stream)
        self._next += 1
        # Workers hand batches over in shared memory, which must not outlive them: copy.
        return {name: np.array(array) for name, array in batch.items()} if self._workers else batch

    def get_state(self) -> dict[str, int]:
        """The position, for a checkpoint."""
        return {"next_batch": self._next}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from a position that `get_state` gave."""
        self.close()
        self._next = int(state["next_batch"])

    def close(self) -> None:
        """Ends the workers; the next batch starts them again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _dataset(self) -> grain.IterDataset:
        numbers = grain.MapDataset.range(self._next, self._batches)
        threads = 1 if self._workers else self._threads
        batches = numbers.map(self._load).to_iter_dataset(
            grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
        )
        if not self._workers:
            return batches
        _check_shared_memory(self._workers * BATCHES_PER_WORKER * self._load.batch_bytes)
        if not flags.FLAGS.is_parsed():  # Grain reads its flags when workers start; our commands use none
            flags.FLAGS.mark_as_parsed()
        options = grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=1)
        return batches.mp_prefetch(options, worker_init_fn=_start_worker)


def _check_shared_memory(needed: int) -> None:
    """Containers often have 64 MB of shared memory; beyond it the kernel kills a worker silently."""
    if SHARED_MEMORY.is_dir() and (free := shutil.disk_usage(SHARED_MEMORY).free) < needed:
        raise InputError(
            f"worker processes need {needed >> 20} MB of shared memory, {SHARED_MEMORY} has {free >> 20};"
            f" set --config.data.workers=0 (threads), or docker run --shm-size={(needed >> 30) + 1}g"
        )


def _start_worker(index: int, count: int) -> None:
    """One decoding thread per worker: the workers are the parallelism. Ctrl-C is for the main process."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def training_batches(
    config: ConfigDict, *, process_index: int = 0, process_count: int = 1, all_folds: bool = False
) -> BatchIterator:
    """Endless shuffled batches of the training split, a new order every epoch.

    Args:
        config: the experiment.
        process_index: which process this is.
        process_count: of how many.
        all_folds: the validation fold's tiles too.

    Raises:
        InputError: bad files, an empty split, or a batch that the processes cannot share.
    """
    source = open_source(config, "train", "val") if all_folds else open_source(config, "train")
    plan = BatchPlan(len(source), config.optim.batch_size, data_seed(config), process_index, process_count)
    return _iterator(config, source, plan, sys.maxsize)


def evaluation_batches(
    config: ConfigDict, split: str, *, process_index: int = 0, process_count: int = 1
) -> BatchIterator:
    """The batches of a split in order, once.

    Raises:
        InputError: bad files, an empty split, or a batch that the processes cannot share.
    """
    source = open_source(config, split)
    plan = BatchPlan(len(source), config.eval.batch_size, None, process_index, process_count)
    return _iterator(config, source, plan, plan.batches_per_epoch)


def _iterator(config: ConfigDict, source: TileSource, plan: BatchPlan, batches: int) -> BatchIterator:
    load = LoadBatch(source, plan, LabelSpec.from_config(config.data), tuple(config.data.canvas))
    return BatchIterator(load, batches, config.data.workers)
