"""What the values of an experiment may be: each for itself, and together. `config.validate` applies it."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from ml_collections import ConfigDict

#: What a value of the right type may be: key -> (test, what is allowed).
RULES: dict[str, tuple[Any, str]] = {
    "name": (lambda v: v.strip(". ") and "/" not in v, "a name that a folder can have"),
    "seed": (lambda v: v >= 0, "0 or more"),
    "data.layout": (lambda v: v in ("published", "plain", "prepared"), "published, plain or prepared"),
    "data.canvas": (
        lambda v: len(v) == 2 and all(isinstance(side, int) and side >= 16 for side in v),
        "(height, width), each at least 16",
    ),
    "data.ignored": (
        lambda v: all(type(value) is int and 0 <= value <= 255 for value in v),
        "raw mask values, whole numbers from 0 to 255",
    ),
    "data.seed": (lambda v: v >= -1, "0 or more, or -1 for config.seed"),
    "data.workers": (lambda v: v >= 0, "0 or more"),
    "data.mpp": (lambda v: v >= 0, "micrometres per pixel, or 0 if unknown"),
    "data.cache_crops": (lambda v: v >= 0, "0 or more"),
    "data.cache_memory_gb": (lambda v: v >= 0, "0 or more"),
    "data.cache_disk_gb": (lambda v: v >= 0, "0 or more"),
    "augment.crop_area": (
        lambda v: len(v) == 2 and 0 < v[0] <= v[1] <= 1,
        "(low, high) with 0 < low <= high <= 1",
    ),
    "augment.crop_ratio": (lambda v: len(v) == 2 and 0 < v[0] <= v[1], "(low, high) with 0 < low <= high"),
    "augment.flip_probability": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    "augment.turn_probability": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    "augment.color_probability": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    "augment.brightness": (lambda v: 0 <= v < 1, "at least 0 and below 1"),
    "augment.contrast": (lambda v: 0 <= v < 1, "at least 0 and below 1"),
    "augment.saturation": (lambda v: 0 <= v < 1, "at least 0 and below 1"),
    "augment.hue": (lambda v: 0 <= v <= 0.5, "between 0 and 0.5 turns"),
    "augment.stain": (lambda v: 0 <= v < 1, "at least 0 and below 1"),
    "model.encoders": (
        lambda v: tuple(v) in (("sam", "hipt"), ("sam",), ("hipt",)),
        "('sam', 'hipt'), ('sam',) or ('hipt',)",
    ),
    "model.sam": (lambda v: v in ("vit_b", "vit_l", "vit_h", "tiny"), "vit_b, vit_l, vit_h or tiny"),
    "model.hipt": (lambda v: v in ("vit_s", "tiny"), "vit_s or tiny"),
    "model.input_size": (
        lambda v: len(v) == 2 and all(isinstance(side, int) and side >= 16 and side % 16 == 0 for side in v),
        "(height, width), multiples of 16",
    ),
    "model.attention": (
        lambda v: v in ("auto", "reference", "blockwise", "cudnn", "splash"),
        "auto, reference, blockwise, cudnn or splash",
    ),
    "model.encoder_dtype": (lambda v: v in ("auto", "float32", "bfloat16"), "auto, float32 or bfloat16"),
    "loss.alpha": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    "loss.beta": (lambda v: v >= 0, "0 or more"),
    "loss.unlabelled": (lambda v: v in ("exact", "published"), "exact or published"),
    "optim.learning_rate": (lambda v: v > 0, "more than 0"),
    "optim.weight_decay": (lambda v: v >= 0, "0 or more"),
    "optim.batch_size": (lambda v: v >= 1, "1 or more"),
    "optim.accumulate": (lambda v: v >= 1, "1 or more"),
    "optim.epochs": (lambda v: v > 0, "more than 0"),
    "optim.warmup_epochs": (lambda v: v >= 0, "0 or more"),
    "optim.drop_epochs": (
        lambda v: list(v) == sorted(v) and all(e > 0 for e in v),
        "rising, each more than 0",
    ),
    "optim.drop_factor": (lambda v: 0 < v <= 1, "more than 0, at most 1"),
    "eval.batch_size": (lambda v: v >= 1, "1 or more"),
    "eval.every_epochs": (lambda v: v > 0, "more than 0"),
    "eval.published_ignored_class": (lambda v: v >= 0, "a label, or 0 for none"),
    "baseline.prompts": (lambda v: v in ("", "dots", "everything"), "dots or everything"),
    "baseline.largest_share": (lambda v: 0 < v <= 1, "more than 0, at most 1"),
    "baseline.points_per_side": (lambda v: v >= 1, "1 or more"),
    "baseline.points_per_batch": (lambda v: v >= 1, "1 or more"),
    "baseline.min_predicted_iou": (lambda v: v <= 1, "at most 1; below 0 where all masks shall pass"),
    "baseline.min_stability": (lambda v: v <= 1, "at most 1; below 0 where all masks shall pass"),
    "baseline.stability_offset": (lambda v: v >= 0, "0 or more, in logits"),
    "baseline.box_nms": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    "baseline.min_region_area": (lambda v: v >= 0, "0 or more, in pixels"),
    "mesh.data": (lambda v: v == -1 or v >= 1, "-1 for all, or 1 or more"),
    "mesh.model": (lambda v: v >= 1, "1 or more"),
    "checkpoint.every_epochs": (lambda v: v > 0, "more than 0"),
    "log.every_steps": (lambda v: v >= 1, "1 or more"),
}


def disagreements(config: ConfigDict) -> Iterator[str]:
    """Problems with values that are possible one by one."""
    optim, classes = config.optim, len(config.data.classes)
    if optim.warmup_epochs >= optim.epochs:
        yield (
            f"config.optim.warmup_epochs is {optim.warmup_epochs:g}, but must be less than "
            f"config.optim.epochs, {optim.epochs:g}"
        )
    if classes and config.eval.published_ignored_class > classes:
        yield (
            f"config.eval.published_ignored_class is {config.eval.published_ignored_class}, but "
            f"config.data.classes has labels 1 to {classes}"
        )


def holds(allowed: Callable[[Any], bool], value: Any) -> bool:
    """Whether the test `allowed` passes; infinite numbers and types it cannot compare never do."""
    if isinstance(value, float) and not math.isfinite(value):
        return False
    try:
        return allowed(value)
    except TypeError:  # text where numbers belong, inside a tuple
        return False
