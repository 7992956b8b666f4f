"""What one head leaves behind in its work directory: scores, checkpoints, and the way back to them."""

import datetime
import hashlib
from collections.abc import Mapping
from typing import Any

import jax

import sampath_jax
from sampath_jax.data.source import TileSource
from sampath_jax.errors import InputError
from sampath_jax.training.checkpoints import Checkpoints
from sampath_jax.training.validation import Validation
from sampath_jax.training.watch import Means
from sampath_jax.workdir import WorkDir, check_frozen


class HeadRecord:
    """The record of one head.

    Args:
        workdir: of the head.
        checkpoints: of the work directory.
        validation: evaluates the head.
        source: the training tiles.
        fingerprint: of the frozen parameters.
        writes: whether this process writes; the first does.
    """

    def __init__(
        self,
        workdir: WorkDir,
        checkpoints: Checkpoints,
        validation: Validation,
        source: TileSource,
        fingerprint: str,
        *,
        writes: bool,
    ):
        self.workdir, self.checkpoints, self.validation = workdir, checkpoints, validation
        self._identity = {
            "frozen": fingerprint,
            "tiles": _tile_names(source, validation.source),
            "seed": workdir.config.seed,
            "versions": {"sampath_jax": sampath_jax.__version__, "jax": jax.__version__},
        }
        self._means = Means()
        self._writes = writes

    def rewind(self, step: int | None) -> None:
        """Forgets what came after `step`: a run resumed there makes it again. None = all of it."""
        if self._writes:
            self.workdir.rewind_metrics(-1 if step is None else step)

    def restore(self, step: int, head: Any, opt_state: Any) -> tuple[Any, Any, Any]:
        """Head, optimiser state and data position after `step`; arrays are placed like the given ones.

        Raises:
            InputError: the checkpoint belongs to other frozen weights or other tiles.
        """
        meta = self.checkpoints.meta(step)
        check_frozen(self._identity["frozen"], meta, self.workdir.path)
        if meta["tiles"] != self._identity["tiles"]:
            raise InputError(
                f"the data set has changed since {self.workdir.path} was trained on it: other training or "
                "validation tiles. Restore it to resume, or name another folder to start anew"
            )
        # A run stopped where an evaluation is due saves first; resumed, it evaluates without saving again.
        # Then the means in the checkpoint are of a line that is written already.
        self._means = Means() if self.evaluated(step) else Means(meta["means"])
        return *self.checkpoints.restore(step, head, opt_state), meta["data"]

    def add(self, metrics: Mapping[str, float]) -> None:
        """Counts the metrics of one step."""
        self._means.add(dict(metrics))

    def evaluated(self, step: int) -> bool:
        """Whether the scores of `step` are recorded already."""
        return any(record["step"] == step for record in self.workdir.read_metrics())

    def note(self, step: int, epoch: float, scores: dict[str, Any]) -> bool:
        """Records scores on the validation split. Returns whether they are the best so far."""
        before, score = self.checkpoints.best_score, scores["macro_dice"]
        best = step > 0 and score is not None and (before is None or score > before)
        if score is not None:
            self.checkpoints.scores[step] = score
        if self._writes:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            line = {"step": step, "epoch": epoch, "time": now, "train": self._means.means(), "val": scores}
            self.workdir.append_metrics(line)
        self._means = Means()
        return best

    def save(self, step: int, epoch: float, head: Any, opt_state: Any, data: Mapping[str, Any]) -> None:
        """Starts saving a checkpoint."""
        meta = {
            **self._identity,
            "step": step,
            "epoch": epoch,
            "data": dict(data),
            "means": self._means.state(),
        }
        self.checkpoints.save(step, head, opt_state, meta)


def _tile_names(*sources: TileSource) -> str:
    """Changes when a split gains, loses or reorders tiles."""
    names = "\n\n".join("\n".join(tile.id for tile in source.tiles) for source in sources)
    return hashlib.sha256(names.encode()).hexdigest()
