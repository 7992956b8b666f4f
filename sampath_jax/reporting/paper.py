"""Table 1 of the paper: which of its rows belongs beside a run, and what its "IOU" column holds.

For one class, and for counts pooled over classes, IoU = Dice / (2 - Dice). All rows of BCSS and the two rows
of vanilla SAM obey it to the four digits printed. CRAG's three trained rows do not: their "IOU" is the gland
*recall* that the released metrics compute (`evaluation.published` says why), so it can even exceed the Dice.
"""

from dataclasses import dataclass

from ml_collections import ConfigDict

from configs import labels
from sampath_jax.data.labels import LabelSpec

#: Half of the last printed digit.
ROUNDING = 5e-5

#: What a system without classes has, printed as "/".
NO_SCORE = "no semantic score"

#: The systems of the table.
SAM_PATH, HIPT_ONLY, SAM_ONLY = "SAM-Path", "SAM-Path w.o. F_s", "Fine-tuned SAM (w.o. F_p)"
VANILLA, FILTERED = "Vanilla SAM", "Vanilla SAM with post-processing"
EVERYTHING = "Vanilla SAM, everything"
TRAINED = {("sam", "hipt"): SAM_PATH, ("hipt",): HIPT_ONLY, ("sam",): SAM_ONLY}
#: `config.baseline.largest_share` -> system.
DOTS = {1.0: VANILLA, 0.5: FILTERED}


@dataclass(frozen=True)
class DataSet:
    """A data set of the table.

    Attributes:
        tables: classes and ignored values, as `configs.labels` has them; several for several kinds of masks.
        dropped: label that the published metrics drop, 0 for none.
        tiles: how many the test split has.
    """

    tables: tuple[tuple, ...]
    dropped: int
    tiles: int


DATA_SETS = {
    "BCSS": DataSet((labels.BCSS_PUBLISHED, labels.BCSS), dropped=0, tiles=978),
    "CRAG": DataSet((labels.CRAG,), dropped=1, tiles=40),
}


@dataclass(frozen=True)
class PaperRow:
    """A row of the table for one data set; None where the paper prints "/"."""

    system: str
    data: str
    dice: float | None
    iou: float | None  # as printed

    @property
    def is_iou(self) -> bool:
        """Whether the printed IOU is the IoU of any Dice that rounds to the printed one."""
        if self.dice is None or self.iou is None:
            return False
        low, high = iou_of_dice(self.dice - ROUNDING), iou_of_dice(self.dice + ROUNDING)
        return low - ROUNDING <= self.iou <= high + ROUNDING

    @property
    def is_recall(self) -> bool:
        """Whether the printed IOU is a recall."""
        return self.iou is not None and not self.is_iou

    @property
    def meaning(self) -> str:
        """What the printed IOU is."""
        if self.iou is None:
            return NO_SCORE
        return "gland recall, not IoU" if self.is_recall else "IoU"

    @property
    def tiles(self) -> int:
        """How many tiles it is the score of."""
        return DATA_SETS[self.data].tiles


TABLE_1 = (
    PaperRow(EVERYTHING, "BCSS", None, None),
    PaperRow(VANILLA, "CRAG", 0.5245, 0.3555),
    PaperRow(FILTERED, "CRAG", 0.6598, 0.4924),
    PaperRow(SAM_ONLY, "BCSS", 0.7562, 0.6080),
    PaperRow(SAM_ONLY, "CRAG", 0.8414, 0.8451),
    PaperRow(HIPT_ONLY, "BCSS", 0.7813, 0.6411),
    PaperRow(HIPT_ONLY, "CRAG", 0.8191, 0.8252),
    PaperRow(SAM_PATH, "BCSS", 0.7949, 0.6596),
    PaperRow(SAM_PATH, "CRAG", 0.8841, 0.8831),
)


def iou_of_dice(dice: float) -> float:
    """The IoU that goes with a Dice of one class or of pooled counts."""
    return dice / (2 - dice)


def system_name(config: ConfigDict) -> str:
    """What `config` trains or runs, in the paper's words where it has some."""
    baseline = config.baseline
    if baseline.prompts == "everything":
        return EVERYTHING
    if baseline.prompts == "dots":
        share = baseline.largest_share
        return DOTS.get(share, f"{VANILLA} without masks over {share:.0%} of the image")
    return TRAINED[tuple(config.model.encoders)]


def paper_row(config: ConfigDict) -> PaperRow | None:
    """The row of the same system on masks with the same label table, however the config is called."""
    key = system_name(config), _data_set(config)
    return next((row for row in TABLE_1 if (row.system, row.data) == key), None)


def _data_set(config: ConfigDict) -> str | None:
    """The data set whose classes, raw values and published metrics `config` has; colours may differ."""
    spec = LabelSpec.from_config(config.data)
    for name, known in DATA_SETS.items():
        tables = (LabelSpec.from_entries(*table) for table in known.tables)
        same = any(t.names == spec.names and (t.table == spec.table).all() for t in tables)
        if same and known.dropped == config.eval.published_ignored_class:
            return name
    return None
