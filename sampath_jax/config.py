"""The schema of an experiment: every key and its default; `config_rules` says what values may be.

A file of ``configs/`` starts from `base_config` and sets what differs. The `ConfigDict` is locked: a key that
is not here cannot be set, neither in a file nor on the command line, and the error names the nearest known.
"""

import ast
import difflib
import importlib.util
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from sampath_jax.config_rules import RULES, disagreements, holds
from sampath_jax.errors import InputError


def base_config() -> ConfigDict:  # noqa: PLR0915 (one statement per key)
    """All keys with defaults. Sections follow the life of a tile: data, model, loss, optimiser, devices."""
    c = ConfigDict()
    c.name = "experiment"
    c.seed = 0

    c.data = ConfigDict()
    c.data.layout = "published"  # published | plain | prepared
    c.data.root = ""  # the folder of the data set
    c.data.csv = "cv.csv"  # published layout: the table `img_id,fold`, relative to root
    c.data.seed = -1  # of the order of the tiles and their augmentation; -1 = config.seed
    c.data.val_fold = 0  # the fold that validates; fold -1 is the test split, all others train
    c.data.canvas = (1024, 1024)  # height, width of the tiles and of the label maps the loss sees
    c.data.classes = ()  # dicts: name, values (the raw mask values that mean it), color "#rrggbb"
    c.data.ignored = ()  # raw mask values that carry no label
    c.data.mpp = 0.0  # micrometres per pixel, 0 = unknown; reported, never used to resample
    c.data.workers = 0  # processes that read and decode; 0 = threads of this process, as fast on a few cores
    c.data.cache_features = False  # True: train on a fixed set of views, each encoded once; threads read
    c.data.cache_crops = 4  # views beside the eight whole ones; 12 are each seen 2 to 3 times in 32 epochs
    c.data.cache_memory_gb = 4.0  # features kept in memory (of each process), then ...
    c.data.cache_disk_gb = 50.0  # ... on disk, then computed again
    c.data.cache_dir = ""  # where; empty = <workdir>/cache

    c.augment = ConfigDict()
    c.augment.crop_area = (0.08, 1.0)
    c.augment.crop_ratio = (3 / 4, 4 / 3)
    c.augment.flip_probability = 0.75
    c.augment.turn_probability = 0.5
    c.augment.color_probability = 0.5
    c.augment.brightness = 0.1
    c.augment.contrast = 0.1
    c.augment.saturation = 0.1
    c.augment.hue = 0.1
    c.augment.stain = 0.0  # spread of the haematoxylin and eosin concentrations; 0 = off
    c.augment.enabled = True

    c.model = ConfigDict()
    c.model.encoders = ("sam", "hipt")  # ("sam",): paper's "w.o. F_p"; ("hipt",): "w.o. F_s"
    c.model.sam = "vit_b"  # vit_b | vit_l | vit_h | tiny
    c.model.hipt = "vit_s"  # vit_s | tiny
    c.model.input_size = (1024, 1024)  # height, width that the encoders see; multiples of 16
    c.model.train_neck = True  # False: the neck keeps its loaded weights, as published for ("sam",)
    c.model.attention = "auto"  # auto | reference | blockwise | cudnn | splash
    c.model.encoder_dtype = "auto"  # auto (bfloat16 on accelerators, float32 on CPU) | float32 | bfloat16

    c.weights = ConfigDict()
    c.weights.sam = ""  # folder written by convert.sam, or "random": seeded, for the demo and tests
    c.weights.hipt = ""  # folder written by convert.hipt, or "random"

    c.loss = ConfigDict()
    c.loss.alpha = 0.25  # equation 3: (1 - alpha) Dice + alpha focal + beta IoU regression
    c.loss.beta = 0.0625
    c.loss.unlabelled = (
        "exact"  # exact: unlabelled pixels count nowhere | published: as the original computes
    )

    c.optim = ConfigDict()
    c.optim.learning_rate = 1e-4
    c.optim.weight_decay = 1e-2
    c.optim.batch_size = 12  # tiles per micro-batch, over all devices
    c.optim.accumulate = 1  # micro-batches per optimiser step
    c.optim.epochs = 32.0
    c.optim.warmup_epochs = 1.0
    c.optim.drop_epochs = (25.0, 29.0)  # the learning rate is multiplied by drop_factor at each
    c.optim.drop_factor = 0.1

    c.eval = ConfigDict()
    c.eval.batch_size = 12
    c.eval.every_epochs = 1.0
    c.eval.published_ignored_class = (
        0  # label that the published metrics drop (CRAG: 1, background); 0 = none
    )

    c.baseline = ConfigDict()  # systems that are not trained, run by `python -m sampath_jax.baseline`
    c.baseline.prompts = ""  # dots (one per instance) | everything (a grid of points, no semantic score)
    c.baseline.instances = ""  # folder, relative to data.root, of instance masks <tile id>.png of 8 or 16
    # bits, as `prepare crag` writes them; empty = connected components of the masks
    c.baseline.object_class = ""  # the class that every segmented object is taken for
    c.baseline.largest_share = 1.0  # masks that cover more of the image are dropped; 1 = none
    c.baseline.multimask = (
        True  # of SAM's three masks the one with the best predicted IoU; False: its single mask
    )
    # everything: `prompting.everything.EverythingOptions` tells what each does; defaults of segment-anything
    c.baseline.points_per_side = 32
    c.baseline.points_per_batch = 64
    c.baseline.min_predicted_iou = 0.88
    c.baseline.min_stability = 0.95
    c.baseline.stability_offset = 1.0
    c.baseline.box_nms = 0.7
    c.baseline.min_region_area = 0  # pixels; 0 = no clean-up

    c.mesh = ConfigDict()
    c.mesh.data = -1  # devices along the batch; -1 = all that `model` leaves
    c.mesh.model = 1  # devices that share the encoders' parameters

    c.checkpoint = ConfigDict()
    c.checkpoint.every_epochs = 1.0

    c.log = ConfigDict()
    c.log.every_steps = 10
    c.log.tensorboard = True
    return c


def load_config(path: Path, overrides: Iterable[str] = ()) -> ConfigDict:
    """Runs `get_config()` of the file at `path`, applies ``--config.key=value`` overrides, checks the values.

    Raises:
        InputError: no such file, no `get_config`, an unknown key, or an impossible value.
    """
    return override(_run_file(Path(path)), overrides)


def override(config: ConfigDict, overrides: Iterable[str]) -> ConfigDict:
    """A copy of `config` with ``--config.key=value`` overrides applied, every value checked.

    Raises:
        InputError: as `load_config`.
    """
    config = config.copy_and_resolve_references().unlock()
    for text in overrides:
        key, equals, value = text.removeprefix("--").removeprefix("config.").partition("=")
        if not equals:
            raise InputError(f"{text}: write it as --config.{key}=VALUE")
        set_value(config, key, parse_value(value))
    validate(config)
    return config.lock()


def _run_file(path: Path) -> ConfigDict:
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], 1, 0.0)
        hint = f"; did you mean {path.with_name(near[0])}?" if near else ""
        raise InputError(f"there is no config file {path}{hint}")
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return module.get_config()
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: {error}") from error


def parse_value(text: str) -> Any:
    """A Python literal, or the text itself where it is none (names, paths); `0,1` is a tuple."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False}.get(text, text)


def set_value(config: ConfigDict, key: str, value: Any) -> None:
    """Sets the dotted `key`, holding its type: whole numbers may become floats, single values tuples.

    Raises:
        InputError: for an unknown key (with the nearest known one) or a value of another type.
    """
    known = dict(flatten(config))
    if key not in known:
        near = difflib.get_close_matches(key, known, 1, 0.0)
        raise InputError(f"there is no config.{key}; the nearest known key is config.{near[0]}")
    old = known[key]
    value = _like(old, value)
    if type(value) is not type(old):
        raise InputError(f"config.{key} is a {type(old).__name__} (default {old!r}), but was given {value!r}")
    section, _, leaf = key.rpartition(".")
    (config[section] if section else config)[leaf] = value


def _like(old: Any, value: Any) -> Any:
    """`value` in the type of `old` where that loses nothing."""
    if isinstance(old, tuple):
        values = tuple(value) if isinstance(value, tuple | list) else (value,)
        return tuple(_like(old[0], v) for v in values) if old else values
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return str(value) if isinstance(old, str) else value


def validate(config: ConfigDict) -> None:
    """Checks every key and type against the schema, every value against `RULES`, and values that must agree.

    Raises:
        InputError: with all problems at once.
    """
    known, given = dict(flatten(base_config())), dict(flatten(config))
    problems = []
    for key in given.keys() - known.keys():
        near = difflib.get_close_matches(key, known, 1, 0.0)[0]
        problems.append(f"there is no config.{key}; the nearest known key is config.{near}")
    problems += [f"config.{key} is missing" for key in known.keys() - given.keys()]
    for key in sorted(known.keys() & given.keys()):
        value, kind = given[key], type(known[key])
        allowed, text = RULES.get(key, (lambda v: True, ""))
        if type(value) is not kind:
            problems.append(f"config.{key} is {value!r}, but must be a {kind.__name__}")
        elif not holds(allowed, value):
            problems.append(f"config.{key} is {value!r}, but must be {text}")
    problems = problems or list(disagreements(config))
    if problems:
        raise InputError("the config cannot be used:\n  " + "\n  ".join(sorted(problems)))


def check_trains(config: ConfigDict) -> None:
    """Refuses a baseline's config, which has nothing to train.

    Raises:
        InputError: `config.baseline.prompts` is set; names the command for it.
    """
    if config.baseline.prompts:
        raise InputError(
            f"config.baseline.prompts is {config.baseline.prompts!r}, and a baseline is not trained: "
            "run `python -m sampath_jax.baseline` with this config"
        )


def data_seed(config: ConfigDict) -> int:
    """The seed of the order of the tiles and of their augmentation."""
    return config.seed if config.data.seed == -1 else config.data.seed


def flatten(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All leaves of `config` as (dotted key, value). Class definitions are leaves."""
    for key in config:
        value = config[key]
        if isinstance(value, ConfigDict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differences(old: ConfigDict, new: ConfigDict) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, each with its old and new value."""
    before, after = dict(flatten(old)), dict(flatten(new))
    keys = sorted(before.keys() | after.keys())
    return {k: (before.get(k), after.get(k)) for k in keys if before.get(k) != after.get(k)}


def to_json(config: ConfigDict) -> str:
    """The config as indented JSON; tuples become lists."""
    return json.dumps(config.to_dict(), indent=2)


def from_json(text: str) -> ConfigDict:
    """Reads what `to_json` wrote, and validates it."""

    def restore(values: dict[str, Any]) -> dict[str, Any]:
        return {k: restore(v) if isinstance(v, dict) else _tuples(v) for k, v in values.items()}

    config = ConfigDict(restore(json.loads(text)))
    validate(config)
    return config.lock()


def _tuples(value: Any) -> Any:
    """Lists become tuples at every depth; class definitions stay plain dicts."""
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
