"""Everything that a report says about a run, gathered from its work directory.

What is not there is None, with a sentence for the reader that says so; nothing is guessed.
"""

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampath_jax.data.index import open_index
from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.tile import SPLITS
from sampath_jax.errors import InputError
from sampath_jax.reporting.evaluation_files import Evaluation, evaluated_splits, read_evaluation
from sampath_jax.reporting.examples import Example, draw_examples
from sampath_jax.reporting.parameters import Parameters, count_parameters
from sampath_jax.training.record import read_record
from sampath_jax.workdir import WorkDir


@dataclass(frozen=True)
class CheckpointFacts:
    """A checkpoint on disk."""

    step: int
    meta: dict[str, Any]  # what training saved with it: epoch, fingerprint of the frozen weights, versions


@dataclass(frozen=True)
class Contents:
    """A run, as far as it has gone.

    Attributes:
        workdir: its folder and config.
        written_by: version of this package that made the work directory.
        record: `training.record`, empty where there is none.
        metrics: lines of ``metrics.jsonl``.
        best: the checkpoint with the highest validation score, None before the first.
        parameters: of the model.
        data: as `training.record.data_facts`; None where the data set is not at hand either.
        evaluation: of `split`, None if there is none.
        split: the split that the report is about.
        other_splits: further ones that have results.
        examples: best, median and worst tiles.
        no_examples: why there are none.
    """

    workdir: WorkDir
    written_by: str
    record: dict[str, Any]
    metrics: list[dict[str, Any]]
    best: CheckpointFacts | None
    parameters: Parameters
    data: dict[str, Any] | None
    evaluation: Evaluation | None
    split: str
    other_splits: tuple[str, ...]
    examples: list[Example]
    no_examples: str

    @property
    def labels(self) -> LabelSpec:
        """The classes."""
        return LabelSpec.from_config(self.workdir.config.data)

    @property
    def colors(self) -> dict[str, str]:
        """Class name -> colour, label 1 first."""
        return dict(zip(self.labels.names, self.labels.colors, strict=True))

    @property
    def drawn_colors(self) -> dict[str, str]:
        """Those of the classes that examples show: a background is left uncoloured."""
        hidden = self.workdir.config.eval.published_ignored_class
        return {name: c for i, (name, c) in enumerate(self.colors.items(), 1) if i != hidden}

    @property
    def evaluate_command(self) -> str:
        """What to run for results."""
        module = "baseline" if self.workdir.config.baseline.prompts else "evaluate"
        config = " --config FILE" if module == "baseline" else ""
        return f"python -m sampath_jax.{module}{config} --workdir {self.workdir.path} --split {self.split}"


def gather(path: Path, split: str | None = None, overrides: Iterable[str] = ()) -> Contents:
    """The contents of the work directory at `path`.

    Args:
        path: of the work directory.
        split: to report on; None takes the first of test, val and train that has been evaluated.
        overrides: as for `WorkDir.open`, such as ``config.data.root=DIR``.

    Raises:
        InputError: not a work directory, or damaged results in it.
    """
    workdir = WorkDir.open(path, overrides)
    splits = evaluated_splits(workdir.path)
    split = split or next(iter(splits), "test")
    evaluation = read_evaluation(workdir.path, split)
    examples: list[Example] = []
    no_examples = "Tiles are shown once the model has been evaluated."
    if evaluation:
        try:
            examples, no_examples = (
                draw_examples(workdir.config, evaluation),
                "No tile of the split has a score.",
            )
        except InputError as error:
            reason = str(error).splitlines()[0].rstrip(":")  # what follows is a table for the terminal
            no_examples = f"The tiles are not shown: {reason}. Name the data set with --config.data.root=DIR."
    record = read_record(workdir.path)
    return Contents(
        workdir=workdir,
        written_by=json.loads((workdir.path / "config.json").read_text())["version"],
        record=record,
        metrics=workdir.read_metrics(),
        best=best_checkpoint(workdir),
        parameters=count_parameters(workdir.config),
        data=record.get("data") or _counted(workdir),
        evaluation=evaluation,
        split=split,
        other_splits=tuple(name for name in splits if name != split),
        examples=examples,
        no_examples=no_examples,
    )


def best_checkpoint(workdir: WorkDir) -> CheckpointFacts | None:
    """The best checkpoint; the last one where none has a score.

    Reads the JSON item as a file: opening Orbax's manager would wait for the other processes of a run.
    """
    files = {int(f.parts[-3]): f for f in workdir.checkpoints.glob("[0-9]*/meta/metadata")}
    scores = workdir.scores()
    scored = [step for step in sorted(files) if step in scores]
    step = max(scored, key=scores.__getitem__, default=max(files, default=None))
    if step is None:
        return None
    meta: dict[str, Any] = {}
    with contextlib.suppress(OSError, json.JSONDecodeError):  # being replaced by a run under way
        meta = json.loads(files[step].read_text())
    return CheckpointFacts(step, meta)


def _counted(workdir: WorkDir) -> dict[str, Any] | None:
    """Tiles and slides from the index alone; shares of pixels would take reading every mask."""
    try:
        index = open_index(workdir.config)
    except InputError:
        return None
    tiles = {name: index.split(name) for name in SPLITS}
    splits = {n: {"tiles": len(t), "slides": len({tile.slide for tile in t})} for n, t in tiles.items()}
    return {"splits": splits}
