"""Runs side by side, with the paper's published row where there is one (the paper's table 1)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sampath_jax.data.labels import LabelSpec
from sampath_jax.errors import InputError
from sampath_jax.reporting.evaluation_files import Evaluation, read_evaluation
from sampath_jax.reporting.paper import TABLE_1, PaperRow
from sampath_jax.reporting.parameters import Parameters, count_parameters
from sampath_jax.reporting.run_sections import model_name
from sampath_jax.workdir import WorkDir


@dataclass(frozen=True)
class ComparedRun:
    """A run as the tables show it.

    Attributes:
        name: of its folder; the whole path where two folders have the same name.
        experiment: `config.name`.
        model: encoders in words.
        classes: names.
        dropped: class that the published figures leave out, empty for none.
        parameters: of the model.
        evaluation: of the compared split.
        paper: the published row of this experiment.
    """

    name: str
    experiment: str
    model: str
    classes: tuple[str, ...]
    dropped: str
    parameters: Parameters
    evaluation: Evaluation
    paper: PaperRow | None

    @property
    def published_iou_meaning(self) -> str:
        """What ``published/iou`` is for these classes."""
        if not self.dropped:
            return "micro IoU"
        kept = [name for name in self.classes if name != self.dropped]
        return f"{kept[0]} recall, not IoU" if len(kept) == 1 else f"without errors on {self.dropped}"


def compare(paths: Sequence[Path], split: str = "test") -> list[ComparedRun]:
    """Reads the runs in the work directories `paths`, in their order.

    Raises:
        InputError: a path that is no work directory, a run without an evaluation of `split`.
    """
    opened = [WorkDir.open(path) for path in paths]
    folders = Counter(path.resolve().name for path in paths)
    return [_compared(w, split, own_name=folders[w.path.resolve().name] == 1) for w in opened]


def _compared(workdir: WorkDir, split: str, *, own_name: bool) -> ComparedRun:
    config = workdir.config
    evaluation = read_evaluation(workdir.path, split)
    if evaluation is None:
        if config.baseline.prompts == "everything":
            raise InputError(
                f"{workdir.path} segments everything without classes: it has overlays and no score to compare"
            )
        module = "baseline --config FILE" if config.baseline.prompts else "evaluate"
        raise InputError(
            f"{workdir.path} has no scores of the {split} split: run "
            f"`python -m sampath_jax.{module} --workdir {workdir.path} --split {split}`"
        )
    names, dropped = LabelSpec.from_config(config.data).names, config.eval.published_ignored_class
    return ComparedRun(
        name=workdir.path.resolve().name if own_name else str(workdir.path),
        experiment=config.name,
        model=model_name(config),
        classes=names,
        dropped=names[dropped - 1] if dropped else "",
        parameters=count_parameters(config),
        evaluation=evaluation,
        paper=TABLE_1.get(config.name) if split == "test" else None,  # the paper reports the test split
    )
