"""Table 1 of the paper, and what its "IOU" column holds.

For one class, and for counts pooled over classes, IoU = Dice / (2 - Dice). All rows of BCSS and the two rows
of vanilla SAM obey it to the four digits printed. CRAG's three trained rows do not: their "IOU" is the gland
*recall* that the released metrics compute (`evaluation.published` says why), so it can even exceed the Dice.
"""

from dataclasses import dataclass

#: Half of the last printed digit.
ROUNDING = 5e-5


@dataclass(frozen=True)
class PaperRow:
    """A row of the table for one data set."""

    system: str
    data: str
    dice: float
    iou: float  # as printed

    @property
    def is_iou(self) -> bool:
        """Whether the printed IOU is the IoU of any Dice that rounds to the printed one."""
        low, high = iou_of_dice(self.dice - ROUNDING), iou_of_dice(self.dice + ROUNDING)
        return low - ROUNDING <= self.iou <= high + ROUNDING

    @property
    def meaning(self) -> str:
        """What the printed IOU is."""
        return "IoU" if self.is_iou else "gland recall, not IoU"


def iou_of_dice(dice: float) -> float:
    """The IoU that goes with a Dice of one class or of pooled counts."""
    return dice / (2 - dice)


#: By the name of the config that trains or runs the system.
TABLE_1 = {
    "bcss": PaperRow("SAM-Path", "BCSS", 0.7949, 0.6596),
    "bcss_hipt_only": PaperRow("SAM-Path w.o. F_s", "BCSS", 0.7813, 0.6411),
    "bcss_sam_only": PaperRow("Fine-tuned SAM (w.o. F_p)", "BCSS", 0.7562, 0.6080),
    "crag": PaperRow("SAM-Path", "CRAG", 0.8841, 0.8831),
    "crag_hipt_only": PaperRow("SAM-Path w.o. F_s", "CRAG", 0.8191, 0.8252),
    "crag_sam_only": PaperRow("Fine-tuned SAM (w.o. F_p)", "CRAG", 0.8414, 0.8451),
    "crag_vanilla_sam": PaperRow("Vanilla SAM", "CRAG", 0.5245, 0.3555),
    "crag_vanilla_sam_filtered": PaperRow("Vanilla SAM with post-processing", "CRAG", 0.6598, 0.4924),
}
