"""Classes by name: which raw mask values mean which class, and the way back.

Inside the project a label is 0 (unlabelled, ignored everywhere) or 1..k, the classes in config order. On disk
a mask holds the data set's own values, in and out; nothing is ever shifted.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from jaxtyping import Integer, Num, UInt8
from ml_collections import ConfigDict

from sampath_jax.drawing import default_colors
from sampath_jax.errors import InputError

#: Marks raw values that the spec does not know in the lookup table; labels end at 254.
UNKNOWN = 255


@dataclass(frozen=True)
class TissueClass:
    """A class, the raw mask values that mean it, and the colour (``#rrggbb``) it is drawn in."""

    name: str
    values: tuple[int, ...]
    color: str


@dataclass(frozen=True)
class LabelSpec:
    """The classes in label order (label 1 first) and the raw mask values that carry no label."""

    classes: tuple[TissueClass, ...]
    ignored: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise InputError("config.data.classes cannot be used:\n  " + "\n  ".join(problems))

    @classmethod
    def from_config(cls, data: ConfigDict) -> "LabelSpec":
        """Reads `config.data.classes` and `config.data.ignored`.

        Raises:
            InputError: no class, a field missing, a value used twice or outside 0..255, a bad colour.
        """
        return cls.from_entries(data.classes, data.ignored)

    @classmethod
    def from_entries(cls, classes: Sequence[Mapping[str, Any]], ignored: Sequence[int]) -> "LabelSpec":
        """Reads class entries (name, values, color) and ignored values, as `configs.labels` has them.

        Raises:
            InputError: as `from_config`.
        """
        try:
            tissues = tuple(
                TissueClass(
                    str(entry["name"]),
                    tuple(int(value) for value in entry["values"]),
                    str(entry.get("color", color)),
                )
                for entry, color in zip(classes, default_colors(len(classes)), strict=True)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"config.data.classes: each class needs a name and values, such as "
                f"{{'name': 'tumor', 'values': (1, 19)}} ({type(error).__name__}: {error})"
            ) from error
        return cls(tissues, tuple(int(value) for value in ignored))

    @property
    def num_classes(self) -> int:
        """k: how many classes there are, not counting 'unlabelled'."""
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in label order; label c is ``names[c - 1]``."""
        return tuple(c.name for c in self.classes)

    @property
    def colors(self) -> tuple[str, ...]:
        """``#rrggbb`` per class in label order."""
        return tuple(c.color for c in self.classes)

    @property
    def known(self) -> tuple[int, ...]:
        """Every raw value a mask may hold, rising."""
        return tuple(sorted({value for c in self.classes for value in c.values} | set(self.ignored)))

    @cached_property
    def table(self) -> UInt8[np.ndarray, "256"]:
        """Label of each raw value; `UNKNOWN` where the spec says nothing."""
        table = np.full(256, UNKNOWN, np.uint8)
        table[list(self.ignored)] = 0
        for label, tissue in enumerate(self.classes, start=1):
            table[list(tissue.values)] = label
        return table

    def to_labels(self, raw: UInt8[np.ndarray, "H W"], name: str = "the mask") -> UInt8[np.ndarray, "H W"]:
        """Labels 0..k of raw mask values.

        Raises:
            InputError: for a value neither in a class nor ignored; tells `name`, value and known ones.
        """
        labels = cv2.LUT(raw, self.table)
        if labels.size and labels.max() == UNKNOWN:
            raise InputError(f"{name} holds {self.unknown_text(np.unique(raw))}")
        return labels

    def to_raw(self, labels: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
        """Raw values of labels: the first value of each class; 0 becomes the first ignored value, or 0."""
        raw = np.zeros(256, np.uint8)
        raw[: self.num_classes + 1] = [*(self.ignored[:1] or (0,)), *(c.values[0] for c in self.classes)]
        return cv2.LUT(labels, raw)

    def count(self, raw_counts: Num[np.ndarray, "256"]) -> Num[np.ndarray, " labels"]:
        """Pixels of each label 0..k, from pixels of each raw value."""
        return np.bincount(self.table, raw_counts, minlength=256)[: self.num_classes + 1]

    def unknown_values(self, values: Integer[np.ndarray, " n"]) -> tuple[int, ...]:
        """Those of `values` that the spec does not know, rising."""
        return tuple(sorted({int(value) for value in values} - set(self.known)))

    def unknown_text(self, values: Integer[np.ndarray, " n"]) -> str:
        """A message about the unknown ones of `values`."""
        unknown, known = (", ".join(map(str, v)) for v in (self.unknown_values(values), self.known))
        return f"value {unknown}; config.data.classes and config.data.ignored know {known}"


def _problems(spec: LabelSpec) -> Iterable[str]:
    if not 1 <= spec.num_classes < UNKNOWN:
        yield f"there are {spec.num_classes} classes; give 1 to {UNKNOWN - 1}"
    for name in {name for name in spec.names if spec.names.count(name) > 1}:
        yield f"two classes are called {name!r}"
    owner: dict[int, str] = {}
    for tissue in (*spec.classes, TissueClass("config.data.ignored", spec.ignored, "#000000")):
        if tissue.name != "config.data.ignored" and not tissue.values:
            yield f"{tissue.name} has no raw value"
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", tissue.color):
            yield f"{tissue.name} has the colour {tissue.color!r}; write it as '#rrggbb'"
        for value in tissue.values:
            if not 0 <= value <= 255:
                yield f"{tissue.name} has the raw value {value}; masks hold 0 to 255"
            if value in owner:
                yield f"raw value {value} means both {owner[value]} and {tissue.name}"
            owner[value] = tissue.name
