"""Runs side by side, with the paper's published row where there is one (the paper's table 1)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sampath_jax.data.labels import LabelSpec
from sampath_jax.errors import InputError
from sampath_jax.reporting.evaluation_files import Evaluation, read_evaluation
from sampath_jax.reporting.paper import NO_SCORE, PaperRow, iou_of_dice, paper_row, system_name
from sampath_jax.reporting.parameters import Parameters, count_parameters
from sampath_jax.reporting.run_sections import model_name
from sampath_jax.workdir import WorkDir

#: Value and 95 % interval, as in ``scores.json``.
Score = dict[str, float | None]
WITHOUT_INTERVAL: Score = {"low": None, "high": None}


class PublishedFigures(NamedTuple):
    """What the published code would print for a run, and the IoU that its Dice stands for."""

    dice: Score
    iou: Score
    true_iou: Score


@dataclass(frozen=True)
class ComparedRun:
    """A run as the tables show it.

    Attributes:
        name: of its folder; the whole path where two folders have the same name.
        experiment: `config.name`.
        system: in the paper's words, and of how many heads an ensemble is.
        model: encoders in words.
        classes: names.
        dropped: class that the published figures leave out, empty for none.
        parameters: of the model, of all heads of an ensemble.
        split: that is compared.
        evaluation: of that split, None for segment-everything, which has no classes.
        paper: the published row of this system on this data set.
    """

    name: str
    experiment: str
    system: str
    model: str
    classes: tuple[str, ...]
    dropped: str
    parameters: Parameters
    split: str
    evaluation: Evaluation | None
    paper: PaperRow | None

    @property
    def kept(self) -> tuple[str, ...]:
        """The classes that the published figures count."""
        return tuple(name for name in self.classes if name != self.dropped)

    @property
    def published_iou_meaning(self) -> str:
        """What ``published/iou`` is for these classes."""
        if self.evaluation is None:
            return NO_SCORE
        if not self.dropped:
            return "micro IoU"
        one = len(self.kept) == 1
        return f"{self.kept[0]} recall, not IoU" if one else f"without errors on {self.dropped}"

    @property
    def published(self) -> PublishedFigures | None:
        """The published code's figures with the intervals of those of our scores that they equal.

        They equal micro scores if no class is dropped, and Dice and recall of the class if one is kept;
        otherwise they are none of our scores and have no interval.
        """
        if self.evaluation is None:
            return None
        scores = self.evaluation.scores
        overall, published = scores["overall"], scores["published"]
        dice, iou = published["published/dice"], published["published/iou"]
        equal = [WITHOUT_INTERVAL] * 3
        if not self.dropped:
            equal = [overall["micro_dice"], overall["micro_iou"], overall["micro_iou"]]
        elif len(self.kept) == 1:
            equal = [scores["classes"][self.kept[0]][score] for score in ("dice", "recall", "iou")]
        values = dice, iou, iou_of_dice(dice)
        return PublishedFigures(*(e | {"value": value} for e, value in zip(equal, values, strict=True)))


def compare(paths: Sequence[Path], split: str = "test") -> list[ComparedRun]:
    """Reads the runs in the work directories `paths`, in their order.

    Raises:
        InputError: a path that is no work directory, a run that was not evaluated on `split`.
    """
    opened = [WorkDir.open(path) for path in paths]
    folders = Counter(path.resolve().name for path in paths)
    return [_compared(w, split, own_name=folders[w.path.resolve().name] == 1) for w in opened]


def _compared(workdir: WorkDir, split: str, *, own_name: bool) -> ComparedRun:
    config = workdir.config
    evaluation = read_evaluation(workdir.path, split)
    if evaluation is None:
        _check_everything(workdir, split)
    heads = evaluation.heads if evaluation else 1
    system, model = system_name(config), model_name(config)
    names, dropped = LabelSpec.from_config(config.data).names, config.eval.published_ignored_class
    return ComparedRun(
        name=workdir.path.resolve().name if own_name else str(workdir.path),
        experiment=config.name,
        system=system if heads == 1 else f"{system}, ensemble of {heads}",
        model=model if heads == 1 else f"{model}, {heads} heads",
        classes=names,
        dropped=names[dropped - 1] if dropped else "",
        parameters=count_parameters(config, heads),
        split=split,
        evaluation=evaluation,
        paper=paper_row(config) if split == "test" else None,  # the paper reports the test split
    )


def _check_everything(workdir: WorkDir, split: str) -> None:
    """A run without scores is fine if it segments everything and has done so."""
    baseline = workdir.config.baseline.prompts
    overlays = workdir.path / "evaluation" / split / "overlays"
    if baseline == "everything" and overlays.is_dir():
        return
    module = "baseline --config FILE" if baseline else "evaluate"
    raise InputError(
        f"{workdir.path} has no {'overlays' if baseline == 'everything' else 'scores'} of the {split} split: "
        f"run `python -m sampath_jax.{module} --workdir {workdir.path} --split {split}`"
    )
