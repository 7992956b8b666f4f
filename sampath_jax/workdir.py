"""The folder of one experiment: its config, its metrics, its checkpoints, and the trained model in it.

    config.json         format number, version that wrote it, the resolved config
    metrics.jsonl       one line per evaluation
    checkpoints/        best on validation, and last (`training.checkpoints`)
    tensorboard/  cache/  evaluation/  report.html

Every file is replaced whole, never written in place, so that a kill or a full disk leaves the previous one.
"""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

import sampath_jax
from sampath_jax.config import differences, from_json, override, to_json
from sampath_jax.errors import InputError
from sampath_jax.models.config import SamPathConfig
from sampath_jax.models.freezing import split_head
from sampath_jax.models.sam_path import SamPath
from sampath_jax.training.checkpoints import Checkpoints
from sampath_jax.weights import abstract_model, build_model, frozen_fingerprint

#: Raised when the layout of a work directory changes in a way that older versions cannot read.
FORMAT = 1

#: What may change between two runs in the same folder, because it does not change what is learnt: paths,
#: logging, devices. The weights' paths may change, the weights not: their fingerprint is in every checkpoint.
MAY_DIFFER = (
    "name",
    "data.root",
    "data.csv",
    "data.workers",
    "data.cache_memory_gb",
    "data.cache_disk_gb",
    "data.cache_dir",
    "weights.",
    "model.attention",
    "mesh.",
    "eval.batch_size",
    "checkpoint.",
    "log.",
)
#: What a start leaves before anything is learnt: a folder with no more than this takes another config.
LEFT_BY_A_START = {"config.json", "run.json", "metrics.jsonl", "checkpoints", "tensorboard", "cache"}
#: What may also change when a trained model is used: other tiles than those of its data set.
MAY_DIFFER_IN_USE = (*MAY_DIFFER, "data.layout", "data.val_fold")


@dataclass(frozen=True)
class WorkDir:
    """An experiment's folder, opened with `open` (to read) or `create` (to train)."""

    path: Path
    config: ConfigDict

    @property
    def checkpoints(self) -> Path:
        """Where `training.checkpoints` keeps the best and the last state."""
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """Where the event files are."""
        return self.path / "tensorboard"

    @property
    def cache(self) -> Path:
        """Where cached features are: `config.data.cache_dir`, or inside the work directory."""
        configured = self.config.data.cache_dir
        return Path(configured) if configured else self.path / "cache"

    @classmethod
    def open(cls, path: Path, overrides: Iterable[str] = ()) -> "WorkDir":
        """Opens an existing work directory, with ``--config.key=value`` overrides of what is not learnt.

        Raises:
            InputError: no such folder, no `config.json` in it, or one of another format; an override of
                something that was decided by training.
        """
        path = Path(path)
        file = path / "config.json"
        if not file.is_file():
            what = "holds no config.json" if path.is_dir() else "does not exist"
            raise InputError(
                f"{path} is not a work directory: it {what}. Name the folder that was given to "
                "`python -m sampath_jax.train --workdir`"
            )
        trained = _read_config(file)
        config = override(trained, overrides)
        if fixed := [key for key in differences(trained, config) if not key.startswith(MAY_DIFFER_IN_USE)]:
            raise InputError(
                f"config.{fixed[0]} was decided when {path} was trained and cannot be overridden"
            )
        return cls(path, config)

    @classmethod
    def create(cls, path: Path, config: ConfigDict) -> "WorkDir":
        """Starts a work directory for `config`, or opens the one that an earlier run of it left.

        A run that ended before its first checkpoint, because a weight file or memory was missing, has learnt
        nothing: its folder takes the corrected config.

        Raises:
            InputError: the folder belongs to another config (the message shows the difference), holds other
                files, or cannot be written.
        """
        path = Path(path)
        file = path / "config.json"
        if file.is_file():
            if _holds_results(path):
                _refuse_changes(path, _read_config(file), config)
        elif path.is_dir() and any(not p.name.startswith(".") for p in path.iterdir()):
            raise InputError(f"{path} holds files but no config.json: name a new or empty folder")
        content = {
            "format": FORMAT,
            "version": sampath_jax.__version__,
            "config": json.loads(to_json(config)),
        }
        with explain_os_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            write_atomically(file, json.dumps(content, indent=2) + "\n")
        return cls(path, config)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder, made if need be, for this process; the lock goes with it, however it ends.

        Raises:
            InputError: another process is training in this folder, or it cannot be written.
        """
        with explain_os_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            file = open(self.path / ".lock", "a+")  # noqa: SIM115 (closed below)
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise InputError(
                    f"{self.path} is in use by another training run (process {holder}): wait for it, "
                    "stop it, or name another folder"
                ) from None
            with explain_os_errors(self.path):
                file.truncate(0)
                file.write(str(os.getpid()))
                file.flush()
            yield

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Adds one line to `metrics.jsonl`."""
        with explain_os_errors(self.path), open(self.path / "metrics.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`, oldest first; a last line cut short by a kill is left out."""
        file = self.path / "metrics.jsonl"
        records = []
        for line in file.read_text().splitlines() if file.is_file() else []:
            with contextlib.suppress(json.JSONDecodeError):
                records.append(json.loads(line))
        return records

    def scores(self) -> dict[int, float]:
        """Macro Dice on the validation split by step, of every evaluation that gave one."""
        values = {record["step"]: record["val"]["macro_dice"] for record in self.read_metrics()}
        return {step: value for step, value in values.items() if value is not None}

    def rewind_metrics(self, step: int) -> None:
        """Drops the lines after `step`: a run resumed there writes them again."""
        kept = [record for record in self.read_metrics() if record["step"] <= step]
        with explain_os_errors(self.path):
            text = "".join(json.dumps(record) + "\n" for record in kept)
            write_atomically(self.path / "metrics.jsonl", text)


@dataclass(frozen=True)
class LoadedModel:
    """A trained model: frozen encoders with one checkpoint's head, and the config it was trained with."""

    model: SamPath
    config: ConfigDict
    step: int


def load_model(path: Path, checkpoint: str = "best", overrides: Iterable[str] = ()) -> LoadedModel:
    """The model of the work directory at `path`, with its `best` (on validation) or `last` head.

    Args:
        path: of the work directory.
        checkpoint: ``best``, ``last``, or the step of one of them.
        overrides: as for `WorkDir.open`.

    Raises:
        InputError: not a work directory, no checkpoint in it yet, missing weights, or weights other than
            those that the head was trained on.
    """
    workdir = WorkDir.open(path, overrides)
    step, head, meta = load_head(workdir, checkpoint)
    model = build_model(workdir.config, base=workdir.path, head=head)
    check_frozen(frozen_fingerprint(model), meta, workdir.path)
    return LoadedModel(model, workdir.config, step)


def load_head(workdir: WorkDir, checkpoint: str = "best") -> tuple[int, Any, dict[str, Any]]:
    """Step, trained parameters and JSON of the `best` or `last` checkpoint, on the default device.

    Raises:
        InputError: no checkpoint yet, or one that does not fit the config.
    """
    model_config = SamPathConfig.from_config(workdir.config)
    _, head, _ = split_head(abstract_model(model_config))
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), head)
    with Checkpoints(workdir.checkpoints, workdir.scores(), read_only=True) as checkpoints:
        step = checkpoints.find(checkpoint)
        return step, checkpoints.restore_head(step, like), checkpoints.meta(step)


def check_frozen(found: str, meta: dict[str, Any], path: Path) -> None:
    """Refuses frozen weights, known by their fingerprint, other than those that a head was trained on."""
    if found != meta["frozen"]:
        raise InputError(
            f"the head in {path} was trained on frozen weights {meta['frozen'][:12]}, but config.weights "
            f"leads to {found[:12]}: convert the same weight files again, or point config.weights.* at them"
        )


def write_atomically(file: Path, text: str) -> None:
    """Replaces `file` with `text`, or leaves it as it was."""
    temporary = file.with_name(f".{file.name}.tmp")
    with open(temporary, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, file)


@contextlib.contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turns a full disk, a missing permission and their like into an `InputError` about `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EFBIG, errno.EPERM):
            raise InputError(f"cannot write to {path}: {error.strerror}") from error
        raise


def _read_config(file: Path) -> ConfigDict:
    try:
        content = json.loads(file.read_text())
        if content["format"] != FORMAT:
            raise InputError(
                f"{file} has format {content['format']}, written by version {content['version']}; "
                f"this version reads format {FORMAT}"
            )
        return from_json(json.dumps(content["config"]))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{file} is damaged ({error}): it is not a config that training wrote") from error


def _holds_results(path: Path) -> bool:
    """Whether there is more than a start leaves: a checkpoint, the results of another command."""
    visible = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
    steps = (entry.name.isdigit() for entry in path.glob("checkpoints/*"))
    return bool(visible - LEFT_BY_A_START) or any(steps)


def _refuse_changes(path: Path, old: ConfigDict, new: ConfigDict) -> None:
    changes = {key: values for key, values in differences(old, new).items() if not key.startswith(MAY_DIFFER)}
    if changes:
        lines = "\n  ".join(f"config.{key}: was {was!r}, now {now!r}" for key, (was, now) in changes.items())
        raise InputError(
            f"{path} belongs to a run with another config:\n  {lines}\n"
            "Give these keys their old values to resume it, or name another folder to start anew"
        )
