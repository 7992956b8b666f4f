"""A trained model on a split of its data set: scores and masks of every tile.

Scores are taken on the canvas, as published and as during training: images are resized to it bilinearly,
label maps by nearest neighbour. Masks are written at each tile's own size. Where the two sizes are the same
(BCSS), scoring the written masks gives the same scores.
"""

import contextlib
import io
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from sampath_jax.data.checks import check_split
from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.pipeline import BatchIterator, evaluation_batches
from sampath_jax.data.source import TileSource
from sampath_jax.distributed import Placement, make_mesh
from sampath_jax.ensemble import SPLIT, Ensemble, Places, load_ensemble
from sampath_jax.errors import InputError
from sampath_jax.evaluation.evaluator import Evaluator
from sampath_jax.evaluation.png import PngWriter
from sampath_jax.evaluation.results import Results
from sampath_jax.evaluation.sliding import best_labels, probabilities_at
from sampath_jax.models.freezing import split_head
from sampath_jax.workdir import explain_os_errors

#: Batches whose time is taken. While the devices compute one of them no mask is written: few, to stay quick.
TIMED = 8


def evaluate_split(
    workdir: Places,
    split: str = "test",
    checkpoint: str = "best",
    overrides: Iterable[str] = (),
    *,
    output: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Results:
    """Evaluates a work directory's model and writes its results to ``<workdir>/evaluation/<split>``.

    Args:
        workdir: of training, or of a converted checkpoint; the folder of a sweep, or several folders, for the
            ensemble of their heads, whose probabilities are averaged on the canvas.
        split: ``train``, ``val`` or ``test``. Heads of several folds agree in the last only.
        checkpoint: ``best`` on validation, ``last``, or the step of one that is kept.
        overrides: of the config, such as ``config.data.root=DIR``.
        output: where else the results go; several folders have no other place.
        progress: called with the number of tiles done and of all.

    Raises:
        InputError: no model, other frozen weights than it was trained with, runs that cannot be averaged, bad
            data, a full disk.
    """
    folder = output or results_folder(workdir, split)
    alike = SPLIT if split == "test" else (*SPLIT, "data.val_fold")
    loaded = load_ensemble(workdir, checkpoint, overrides, alike)
    config, ensemble = loaded.config, len(loaded.paths) > 1
    placement = Placement(make_mesh(config.mesh))
    if placement.process_index == 0:
        check_split(config, split)
    graphdef, head, frozen = split_head(loaded.model)
    batches = evaluation_batches(
        config, split, process_index=placement.process_index, process_count=placement.process_count
    )
    writer = _MaskWriter(folder / "predictions", batches.source, LabelSpec.from_config(config.data))
    if ensemble:
        head = loaded.heads
    evaluator = Evaluator(graphdef, config, placement, ensemble=ensemble)
    start = time.perf_counter()
    with contextlib.closing(batches), explain_os_errors(folder):
        parameters = placement.put(head), placement.put_frozen(frozen)
        counts, seconds = _predict(evaluator, parameters, batches, writer, progress)
    results = Results(
        classes=writer.labels.names,
        tiles=tuple(tile.id for tile in batches.source.tiles),
        slides=tuple(tile.slide for tile in batches.source.tiles),
        confusions=counts,
        source={
            **_origin(loaded),
            "name": config.name,
            "split": split,
            "checkpoint": checkpoint,
            "size": list(config.data.canvas),
            "device": f"{placement.mesh.size} x {placement.mesh.devices.flat[0].device_kind}",
            "seconds_per_tile": seconds / config.eval.batch_size,
            "seconds": round(time.perf_counter() - start, 1),
        },
        published_ignored_class=config.eval.published_ignored_class,
    )
    if placement.process_index == 0:
        results.write(folder)
    return results


def _predict(
    evaluator: Evaluator,
    parameters: tuple[Any, Any],
    batches: BatchIterator,
    writer: "_MaskWriter",
    progress: Callable[[int, int], None],
) -> tuple[Int[np.ndarray, "n k k"], float]:
    """Counts of every tile, whose masks are written, and the mean seconds that a batch takes the devices."""
    counts, seconds = [], []
    for done in evaluator.run(*parameters, batches, timed=TIMED):
        counts.append(np.asarray(done.confusion)[np.asarray(done.valid)])
        seconds.append(done.seconds)
        for index, labels, logits in done.tiles():
            writer.write(index, labels, logits)
        progress(sum(map(len, counts)), len(batches.source))
    if len(seconds) == 1:  # the only batch compiled the program: once more for its time
        seconds.append(evaluator.timed(*parameters, done.batch).seconds)
    return np.concatenate(counts).astype(np.int64), mean(s for s in seconds if s is not None)


def results_folder(workdir: Places, split: str) -> Path:
    """Where the results of a work directory or a sweep go.

    Raises:
        InputError: several folders.
    """
    if not isinstance(workdir, str | Path):
        if len(workdir) > 1:
            raise InputError("say where the results of several runs go: --output DIR")
        (workdir,) = workdir
    return Path(workdir) / "evaluation" / split


def _origin(loaded: Ensemble) -> dict[str, Any]:
    if len(loaded.paths) == 1:
        return {"workdir": str(loaded.paths[0]), "step": loaded.steps[0]}
    return {"ensemble": [str(path) for path in loaded.paths], "steps": list(loaded.steps)}


class _MaskWriter:
    """Writes predictions as masks in raw values, each at its tile's own size."""

    def __init__(self, folder: Path, source: TileSource, labels: LabelSpec):
        self.labels = labels
        self._folder, self._source = folder, source

    def write(
        self, index: int, labels: UInt8[np.ndarray, "H W"], logits: Float[np.ndarray, "*n h w C"]
    ) -> None:
        """The mask of tile `index`: its labels on the canvas; at another size, from all heads' logits."""
        with Image.open(io.BytesIO(self._source.encoded(index)[0])) as file:
            size = (file.height, file.width)
        if size != labels.shape:
            heads = logits.reshape(-1, *logits.shape[-3:])
            labels = best_labels(np.mean([probabilities_at(head, size) for head in heads], axis=0))
        path = self._folder / f"{self._source.tiles[index].id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = PngWriter(path, *size)
        mask.write(self.labels.to_raw(labels))
        mask.close()
