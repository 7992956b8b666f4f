"""The part of a report that says what was trained, on what, and how to do it again."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Any

from ml_collections import ConfigDict

from sampath_jax.config import base_config, flatten
from sampath_jax.data.tile import SPLITS
from sampath_jax.reporting.contents import Contents
from sampath_jax.reporting.html import Html, element, facts, table
from sampath_jax.reporting.results_sections import interval, missing, number, swatch

NOT_RECORDED = "not recorded"
ENCODERS = {"sam": "SAM", "hipt": "HIPT"}
SIZES = {"vit_b": "ViT-B", "vit_l": "ViT-L", "vit_h": "ViT-H", "vit_s": "ViT-S", "tiny": "tiny"}


def header(contents: Contents) -> Html:
    """Name, what it is in one sentence, and the figures that a reader looks for first."""
    config = contents.workdir.config
    return element(
        "header",
        element("p", "SAM-Path run report", class_="kind"),
        element("h1", config.name),
        element("p", _sentence(contents), class_="lead"),
        element("div", [_key(*key) for key in _keys(contents)], class_="keys"),
    )


def model_name(config: ConfigDict) -> str:
    """The encoders in words."""
    if config.baseline.prompts:
        return f"SAM {SIZES[config.model.sam]} without training"
    return " and ".join(f"{ENCODERS[name]} {SIZES[config.model[name]]}" for name in config.model.encoders)


def _sentence(contents: Contents) -> str:
    config, names = contents.workdir.config, contents.labels.names
    what = f"{model_name(config)}, {len(names)} classes: {', '.join(names)}."
    if config.baseline.prompts:
        return what
    if not contents.metrics:
        return f"{what} No training is recorded in this folder."
    done = contents.metrics[-1]["epoch"]
    if done < config.optim.epochs:
        return f"{what} Trained for {done:g} of {config.optim.epochs:g} epochs so far."
    return f"{what} Trained for {done:g} epochs."


def _keys(contents: Contents) -> Iterable[tuple[str, str, str]]:
    """(value, what it is, its interval or step)."""
    if contents.evaluation:
        overall, split = contents.evaluation.scores["overall"], contents.split
        for key, name in (
            ("macro_dice", "macro Dice"),
            ("macro_iou", "macro IoU"),
            ("accuracy", "pixel accuracy"),
        ):
            limits = interval(overall[key])
            yield number(overall[key]["value"], 3), f"{split} {name}", f"95 %: {limits}" if limits else ""
    scores = {step: score for step, score in contents.workdir.scores().items() if step > 0}
    if scores:  # as in training, the untrained head is never the best
        step = max(scores, key=scores.__getitem__)
        yield number(scores[step], 3), "best validation macro Dice", f"at step {step:,}"
    count = contents.parameters
    yield _short(count.learning), "trainable parameters", f"of {_short(count.total)}"


def _key(value: str, what: str, detail: str) -> Html:
    return element("div", element("b", value), element("span", what), element("span", detail), class_="key")


def data(contents: Contents) -> list[Html]:
    """The data card: labels, splits, sizes, warnings."""
    config, spec, found = contents.workdir.config.data, contents.labels, contents.data
    splits: Mapping[str, Any] = found["splits"] if found else {}
    shares = [splits[name].get("shares") for name in SPLITS if name in splits]
    known = bool(shares) and all(shares)
    rows = []
    named = [("unlabelled", spec.ignored, None), *((c.name, c.values, c.color) for c in spec.classes)]
    for label, (name, values, color) in enumerate(named):
        cells = [f"{splits[split]['shares'][label]:.1%}" for split in SPLITS] if known else []
        raw = ", ".join(map(str, values)) or "none"
        rows.append(([swatch(color) if color else None, name], label, raw, *cells))
    columns = list(SPLITS) if known else []
    parts: list[Html] = [
        element("h2", "Data"),
        facts(
            [
                ("Folder", config.root),
                ("Layout", config.layout),
                ("Canvas", f"{config.canvas[1]} x {config.canvas[0]} pixels"),
                ("Tile sizes", _sizes(found)),
                ("Resolution", f"{config.mpp:g} micrometres per pixel" if config.mpp else "unknown"),
                ("Validation", f"fold {config.val_fold}"),
            ]
        ),
    ]
    if found:
        counts = [(s, f"{splits[s]['tiles']:,}", f"{splits[s]['slides']:,}") for s in SPLITS]
        parts.append(table(("Split", "Tiles", "Slides"), counts, numeric=(1, 2)))
    else:
        parts.append(missing("Tiles are not counted: the data set was not at hand when this was written."))
    parts.append(table(("Class", "Label", "Raw values", *columns), rows, numeric=range(3, 3 + len(columns))))
    shares_are = "Columns train, val and test: share of the split's pixels."
    unknown = "Shares of pixels were not recorded when this run started."
    parts.append(element("p", shares_are if known else unknown, class_="note"))
    return parts + [
        element("p", f"Warning: {text}", class_="note") for text in (found or {}).get("warnings", ())
    ]


def _sizes(found: Mapping[str, Any] | None) -> str:
    sizes = (found or {}).get("sizes")
    if not sizes:
        return NOT_RECORDED
    text = [f"{width} x {height}" for height, width in (min(sizes), max(sizes))]
    return text[0] if len(sizes) == 1 else f"{len(sizes)} from {text[0]} to {text[1]}"


def model(contents: Contents) -> list[Html]:
    """Parameters per part, the schedule, and the fingerprint of what was frozen."""
    config, count, best = contents.workdir.config, contents.parameters, contents.best
    parts = [(name.replace("_", " "), f"{n:,}", "") for name, n in count.trainable.items()]
    parts += [(name.replace("_", " "), "", f"{n:,}") for name, n in count.frozen.items()]
    parts.append(("Total", f"{count.learning:,}", f"{count.total - count.learning:,}"))
    fingerprint = (best.meta.get("frozen") if best else None) or NOT_RECORDED
    optim, loss = config.optim, config.loss
    drops = ", ".join(f"{epoch:g}" for epoch in optim.drop_epochs)
    about: list[tuple[str, object]] = [
        ("Encoders", model_name(config)),
        ("Encoder input", f"{config.model.input_size[1]} x {config.model.input_size[0]} pixels"),
    ]
    if not config.baseline.prompts:
        about += [
            ("Batch", f"{optim.batch_size} tiles x {optim.accumulate} per step"),
            (
                "Learning rate",
                f"{optim.learning_rate:g}, x {optim.drop_factor:g} at epochs {drops or 'none'}",
            ),
            ("Warm-up", f"{optim.warmup_epochs:g} epochs"),
            ("Weight decay", f"{optim.weight_decay:g}"),
            ("Loss", f"alpha {loss.alpha:g}, beta {loss.beta:g}, {loss.unlabelled} unlabelled"),
            ("Seed", config.seed),
            ("Best checkpoint", f"step {best.step:,}" if best else "none yet"),
        ]
    about.append(("Frozen weights, sha256", element("code", fingerprint)))
    heads = ("Part", "Trainable", "Frozen")
    return [element("h2", "Model and training"), facts(about), table(heads, parts, numeric=(1, 2), foot=1)]


def provenance(contents: Contents) -> list[Html]:
    """Commands, versions, devices, timings, and the whole config."""
    parts: list[Html] = [element("h2", "How it was run")]
    starts = contents.record.get("starts", [])
    for i, start in enumerate(starts):
        about = f"{'Resumed' if i else 'Started'} {_when(start['time'])} on {start['devices']}"
        parts += [element("p", about, class_="note"), element("pre", start["command"])]
    if not starts:
        what = "The command and devices of training were not recorded in this folder"
        parts.append(missing(f"{what}; the config below is what it ran with."))
    if contents.evaluation and (command := contents.evaluation.scores.get("command")):
        about = f"Evaluated {_when(contents.evaluation.scores['created'])}"
        parts += [element("p", about, class_="note"), element("pre", command)]
    parts += [element("h3", "Timings"), facts(_timings(contents))]
    parts += [element("h3", "Versions"), facts(_versions(contents))]
    standard = dict(flatten(base_config()))
    rows = [
        (element("code", key), element("code", _value(value)), "" if value == standard.get(key) else "set")
        for key, value in flatten(contents.workdir.config)
    ]
    config = table(("Key", "Value", "Differs from the default"), rows)
    return [*parts, element("details", element("summary", f"The whole config ({len(rows)} values)"), config)]


def _timings(contents: Contents) -> Iterable[tuple[str, object]]:
    times = [(r["epoch"], datetime.fromisoformat(r["time"])) for r in contents.metrics if "time" in r]
    if len(times) > 1:
        total = (times[-1][1] - times[0][1]).total_seconds()
        yield "First to last validation, pauses included", duration(total)
        paces = [(b[1] - a[1]).total_seconds() / (b[0] - a[0]) for a, b in pairwise(times) if b[0] > a[0]]
        yield "Per epoch with its validation, median", duration(median(paces))
    else:
        yield "Training", NOT_RECORDED
    evaluation = contents.evaluation
    if evaluation and evaluation.seconds_per_tile is not None:
        source = evaluation.scores["source"]
        yield "Predicting a tile, mean", f"{evaluation.seconds_per_tile:.3g} s on {evaluation.device}"
        if "seconds" in source:
            yield f"Evaluating {contents.split}, all included", duration(source["seconds"])


def _versions(contents: Contents) -> Iterable[tuple[str, object]]:
    yield "Work directory made by sampath-jax", contents.written_by
    starts = contents.record.get("starts", [])
    trained = (
        starts[-1]["versions"]
        if starts
        else (contents.best.meta.get("versions", {}) if contents.best else {})
    )
    if trained:
        yield "Training", ", ".join(f"{name} {v}" for name, v in trained.items())
    if contents.evaluation:
        found = contents.evaluation.scores["versions"]
        yield "Evaluation", ", ".join(f"{name} {v}" for name, v in found.items())


def duration(seconds: float) -> str:
    """Seconds in the units that a person would use."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _when(time: str) -> str:
    return datetime.fromisoformat(time).strftime("%Y-%m-%d %H:%M UTC")


def _value(value: object) -> str:
    if isinstance(value, tuple) and value and hasattr(value[0], "items"):
        return "; ".join(", ".join(f"{k}: {v}" for k, v in entry.items()) for entry in value)
    return repr(value)


def _short(count: int) -> str:
    return f"{count / 1e6:.1f} M"
