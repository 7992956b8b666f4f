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

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from sampath_jax.data.checks import check_split
from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.pipeline import evaluation_batches
from sampath_jax.data.source import TileSource
from sampath_jax.distributed import Placement, make_mesh
from sampath_jax.evaluation.evaluator import Evaluator
from sampath_jax.evaluation.png import PngWriter
from sampath_jax.evaluation.results import Results
from sampath_jax.evaluation.sliding import best_labels, probabilities_at
from sampath_jax.models.freezing import split_head
from sampath_jax.workdir import explain_os_errors, load_model


def evaluate_split(
    workdir: Path,
    split: str = "test",
    checkpoint: str = "best",
    overrides: Iterable[str] = (),
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Results:
    """Evaluates a work directory's model and writes its results to ``<workdir>/evaluation/<split>``.

    Args:
        workdir: of training, or of a converted checkpoint.
        split: ``train``, ``val`` or ``test``.
        checkpoint: ``best`` on validation, ``last``, or the step of one that is kept.
        overrides: of the config, such as ``config.data.root=DIR``.
        progress: called with the number of tiles done and of all.

    Raises:
        InputError: no model, other frozen weights than it was trained with, bad data, a full disk.
    """
    loaded = load_model(workdir, checkpoint, overrides)
    config, folder = loaded.config, workdir / "evaluation" / split
    placement = Placement(make_mesh(config.mesh))
    if placement.process_index == 0:
        check_split(config, split)
    graphdef, head, frozen = split_head(loaded.model)
    batches = evaluation_batches(
        config, split, process_index=placement.process_index, process_count=placement.process_count
    )
    writer = _MaskWriter(folder / "predictions", batches.source, LabelSpec.from_config(config.data))
    evaluator = Evaluator(graphdef, config, placement)
    counts, start = [], time.perf_counter()
    with contextlib.closing(batches), explain_os_errors(folder):
        for done in evaluator.run(placement.put(head), placement.put_frozen(frozen), batches):
            counts.append(np.asarray(done.confusion)[np.asarray(done.valid)])
            for index, labels, logits in done.tiles():
                writer.write(index, labels, logits)
            progress(sum(map(len, counts)), len(batches.source))
    results = Results(
        classes=writer.labels.names,
        tiles=tuple(tile.id for tile in batches.source.tiles),
        slides=tuple(tile.slide for tile in batches.source.tiles),
        confusions=np.concatenate(counts).astype(np.int64),
        source={
            "workdir": str(workdir),
            "name": config.name,
            "split": split,
            "checkpoint": checkpoint,
            "step": loaded.step,
            "size": list(config.data.canvas),
            "devices": f"{placement.mesh.size} x {placement.mesh.devices.flat[0].device_kind}",
            "seconds": round(time.perf_counter() - start, 1),
        },
        published_ignored_class=config.eval.published_ignored_class,
    )
    if placement.process_index == 0:
        results.write(folder)
    return results


class _MaskWriter:
    """Writes predictions as masks in raw values, each at its tile's own size."""

    def __init__(self, folder: Path, source: TileSource, labels: LabelSpec):
        self.labels = labels
        self._folder, self._source = folder, source

    def write(self, index: int, labels: UInt8[np.ndarray, "H W"], logits: Float[np.ndarray, "h w C"]) -> None:
        """The mask of tile `index`: its labels on the canvas; at another size, from the logits."""
        with Image.open(io.BytesIO(self._source.encoded(index)[0])) as file:
            size = (file.height, file.width)
        if size != labels.shape:
            labels = best_labels(probabilities_at(logits, size))
        path = self._folder / f"{self._source.tiles[index].id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = PngWriter(path, *size)
        mask.write(self.labels.to_raw(labels))
        mask.close()
