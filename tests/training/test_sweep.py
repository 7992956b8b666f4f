"""Heads that are trained together equal heads that are trained alone, and the command does what it says."""

import csv
import json
import shutil

import cv2
import jax
import numpy as np
import pytest

from sampath_jax import evaluate, predict, report
from sampath_jax import sweep as command
from sampath_jax.config import override
from sampath_jax.data import pipeline
from sampath_jax.errors import InputError
from sampath_jax.evaluation.sweep_figure import read_sweep, write_sweep
from sampath_jax.training import memory, session
from sampath_jax.training import sweep as sweep_module
from sampath_jax.training.checkpoints import Checkpoints
from sampath_jax.training.loop import train
from sampath_jax.training.sweep import sweep
from sampath_jax.training.sweep_settings import parse_sweep
from sampath_jax.workdir import WorkDir, load_head
from tests.test_weights import sam_folder
from tests.training.experiments import small_config, small_overrides

pytestmark = pytest.mark.optim

#: Every step is evaluated, so that its losses stand in a line of their own.
EACH_STEP = (
    "optim.epochs=2",
    "optim.drop_epochs=(1,)",
    "eval.every_epochs=0.34",
    "optim.learning_rate=1e-4",  # the published one
)
#: The micro-batch after which parameters change for the first time.
UPDATED = 2
SWEPT = ["--sweep.loss.alpha=0.25,0.75", "--sweep.loss.beta=0,0.5"]
NAMES = ["alpha=0.25_beta=0", "alpha=0.25_beta=0.5", "alpha=0.75_beta=0", "alpha=0.75_beta=0.5"]
#: Of them, those that are trained alone too.
ALONE = (NAMES[0], NAMES[3])


@pytest.fixture(scope="module")
def config(tiles):
    return small_config(tiles, *EACH_STEP)


@pytest.fixture(scope="module")
def swept(tiles, tmp_path_factory, loaded):
    """The folder that the command leaves."""
    path = tmp_path_factory.mktemp("sweep") / "run"
    files = ["--config", "configs/demo.py", "--workdir", str(path)]
    with pytest.MonkeyPatch.context() as patch:
        load = pipeline.LoadBatch.load

        def counting(self, rows, with_image):
            loaded.extend(self.source.tiles[i].split for i in rows.index[rows.valid])
            return load(self, rows, with_image)

        patch.setattr(pipeline.LoadBatch, "load", counting)
        assert command.main([*files, *small_overrides(tiles, *EACH_STEP), *SWEPT]) == 0
    return path


@pytest.fixture(scope="module")
def loaded():
    """The split of every tile that the command reads."""
    return []


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory):
    path = tmp_path_factory.mktemp("alone")
    for setting in parse_sweep(config, SWEPT):
        if setting.name in ALONE:
            train(setting.config, path / setting.name)
    return path


def lines_of(path):
    return WorkDir.open(path).read_metrics()


def head_of(path):
    return load_head(WorkDir.open(path), "last")[1]


def assert_equal_heads(path, other):
    jax.tree.map(np.testing.assert_array_equal, head_of(path), head_of(other))


def assert_every_step_is_that_of(alone, together, steps=6, equal_until=6):
    """The loss of every step; until the given one its parts and the norm of the gradient too."""
    ours, theirs = lines_of(together), lines_of(alone)
    assert [line["step"] for line in ours] == [line["step"] for line in theirs] == list(range(steps + 1))
    for mine, other in zip(ours[1:], theirs[1:], strict=True):
        for name in ("loss",) if mine["step"] > equal_until else other["train"]:
            assert mine["train"][name] == pytest.approx(other["train"][name], rel=1e-5), (mine["step"], name)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), head_of(together), head_of(alone))


@pytest.mark.parametrize("name", ALONE)
def test_every_step_of_a_head_equals_the_same_setting_trained_alone(swept, alone, name):
    assert_every_step_is_that_of(alone / name, swept / name)


def test_so_it_does_where_all_heads_step_together(config, alone, tmp_path, monkeypatch):
    """As on accelerators."""
    monkeypatch.setattr(memory, "group_sizes", lambda heads: [heads])
    sweep(config, SWEPT, tmp_path / "run")
    for name in ALONE:
        # Adam makes a whole update of the last bit of a gradient near zero, which moves a few pixels
        assert_every_step_is_that_of(alone / name, tmp_path / "run" / name, equal_until=UPDATED)


def test_seeds_start_from_other_heads_and_see_the_same_batches(tiles, tmp_path):
    sam_folder(tmp_path / "sam")
    weights = ("model.encoders=('sam',)", f"weights.sam={tmp_path / 'sam'}")
    config = small_config(tiles, *EACH_STEP, "optim.epochs=1", "optim.drop_epochs=()", *weights)
    outcome = sweep(config, ["--sweep.seed=0,3"], tmp_path / "run")
    first, other = outcome.settings
    assert (first.config.seed, other.config.seed, other.config.data.seed) == (0, 3, 0)
    sweep(override(config, ["seed=3", "data.seed=0"]), ["--sweep.loss.alpha=0.25"], tmp_path / "alone")
    assert_every_step_is_that_of(tmp_path / "alone" / "alpha=0.25", tmp_path / "run" / other.name, steps=3)
    losses = [lines_of(tmp_path / "run" / setting.name)[1]["train"]["loss"] for setting in (first, other)]
    assert abs(losses[0] - losses[1]) > 1e-4


def test_what_the_command_leaves(swept):
    listed = json.loads((swept / "sweep.json").read_text())
    assert [head["name"] for head in listed] == NAMES
    assert listed[1] == {"name": NAMES[1], "loss.alpha": 0.25, "loss.beta": 0.5}
    keys, rows = read_sweep(swept)
    assert keys == ("loss.alpha", "loss.beta")
    with (swept / "sweep.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(row["head"], row["val_dice"]) for row in table] == [
        (row["name"], str(row["val_dice"])) for row in rows
    ]
    assert cv2.imread(str(swept / "sweep.png")).std() > 1
    assert "<svg" in (swept / "sweep.svg").read_text()
    for name in NAMES:
        assert {"config.json", "metrics.jsonl", "checkpoints"} <= {p.name for p in (swept / name).iterdir()}
    losses = {lines_of(swept / name)[-1]["train"]["loss"] for name in NAMES}
    assert len(losses) == len(NAMES)


def test_other_commands_take_a_sweep_and_its_heads(swept, tiles, tmp_path):
    path = shutil.copytree(swept, tmp_path / "sweep")
    image = next((tiles / "img").iterdir())
    files = ["--input", str(image), "--output", str(tmp_path / "masks")]
    assert predict.main(["--workdir", str(path), *files]) == 0
    mask = cv2.imread(str(tmp_path / "masks" / f"{image.stem}.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == cv2.imread(str(image)).shape[:2]
    assert evaluate.main(["--workdir", str(path)]) == 0
    scores = json.loads((path / "evaluation" / "test" / "scores.json").read_text())
    assert len(scores["source"]["ensemble"]) == len(NAMES)
    assert report.main(["--workdir", str(path / NAMES[0])]) == 0
    page = (path / NAMES[0] / "report.html").read_text()
    assert "were not recorded" not in page
    assert "Started" in page


def test_heads_that_validate_on_the_same_tiles_read_them_once(swept, loaded):
    assert loaded.count("val") == 3 * len(lines_of(swept / NAMES[0]))


def test_a_finished_sweep_does_nothing_more_and_another_list_is_refused(config, swept):
    before = {name: lines_of(swept / name) for name in NAMES}
    assert sweep(config, SWEPT, swept).exit_status == 0
    assert {name: lines_of(swept / name) for name in NAMES} == before
    with pytest.raises(InputError, match=r"belongs to a sweep over alpha=0\.25_beta=0, "):
        sweep(config, ["--sweep.loss.alpha=0.25"], swept)


def test_a_refused_sweep_leaves_the_folder_to_a_corrected_one(config, tmp_path, monkeypatch):
    short = override(config, ["optim.epochs=0.34", "optim.drop_epochs=()"])
    path, many = tmp_path / "run", ["--sweep.loss.alpha=0,0.5,1"]

    def refuse(*arguments, **options):
        raise InputError("refused")

    for module, name in ((sweep_module, "plan_groups"), (session, "build_model")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, refuse)
            with pytest.raises(InputError, match="refused"):
                sweep(short, many, path)
        assert path.exists() == (module is session)
    assert sweep(short, ["--sweep.loss.alpha=0"], path).exit_status == 0
    assert [head["name"] for head in json.loads((path / "sweep.json").read_text())] == ["alpha=0"]


def test_after_a_kill_between_two_saves_all_heads_go_on_from_the_older(config, swept, tmp_path, monkeypatch):
    """The second head never saw the last save: both resume from the one before and end as if nothing was."""
    saved = Checkpoints.save
    victim = tmp_path / "killed" / NAMES[1] / "checkpoints"

    def save(self, step, *arguments):
        if self.folder == victim and step == 4:
            raise KeyboardInterrupt
        saved(self, step, *arguments)

    monkeypatch.setattr(Checkpoints, "save", save)
    with pytest.raises(KeyboardInterrupt):
        sweep(config, SWEPT, tmp_path / "killed")
    assert WorkDir.open(tmp_path / "killed" / NAMES[0]).checkpoints.joinpath("4").is_dir()
    monkeypatch.setattr(Checkpoints, "save", saved)
    sweep(config, SWEPT, tmp_path / "killed")
    for name in NAMES:
        assert len(lines_of(tmp_path / "killed" / name)) == len(lines_of(swept / name))
        assert_equal_heads(tmp_path / "killed" / name, swept / name)


def test_the_tiles_that_validate_a_head_do_not_train_it(config, tiles, tmp_path):
    """Other labels on the tiles of fold 0 leave the head alone that fold 0 validates, and no other."""
    shutil.copytree(tiles, tmp_path / "tiles")
    with (tiles / "cv.csv").open() as file:
        first = [row["img_id"] for row in csv.DictReader(file) if row["fold"] == "0"]
    assert first
    for name in first:
        mask = cv2.imread(str(tiles / "mask" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(tmp_path / "tiles" / "mask" / f"{name}.png"), np.ascontiguousarray(mask[::-1, ::-1]))
    short = override(config, ["optim.epochs=1", "optim.drop_epochs=()", "eval.every_epochs=1"])
    for name, root in (("as it was", tiles), ("changed", tmp_path / "tiles")):
        outcome = sweep(
            override(short, [f"data.root={root}"]), ["--sweep.data.val_fold=0,1"], tmp_path / name
        )
        assert [setting.config.data.val_fold for setting in outcome.settings] == [0, 1]
        assert all(score is not None for score in outcome.scores)
    assert_equal_heads(tmp_path / "as it was" / "val_fold=0", tmp_path / "changed" / "val_fold=0")
    with pytest.raises(AssertionError):
        assert_equal_heads(tmp_path / "as it was" / "val_fold=1", tmp_path / "changed" / "val_fold=1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sweep.model.sam=tiny,vit_b"], r"only these keys may differ: loss\.alpha"),
        (["--sweep.data.canvas=64,128"], "only these keys may differ"),
        (["--sweep.loss.alpha="], "write it as"),
        (["--sweep.loss.alpha=0.5,0.50"], r"alpha=0\.5 and alpha=0\.50 are the same"),
        (["--sweep.loss.alpha=0.5", "--sweep.loss.alpha=0.25"], "given twice"),
        (["--sweep.loss.alpha=0.5,2"], "must be between 0 and 1"),
        (["--sweep.seed=0,1"], "other encoders"),
        (["--sweep.data.val_fold=0,7"], r"no tile has fold 7; the folds are 0, 1"),
        (["--sweep.data.val_fold=-1,0"], r"no tile has fold -1"),
        ([], "nothing to sweep"),
    ],
)
def test_sweeps_that_cannot_be(config, arguments, message, tmp_path):
    with pytest.raises(InputError, match=message):
        sweep(config, arguments, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folds_of_a_layout_without_folds_cannot_be_swept(config, tmp_path):
    plain = override(config, ["data.layout=plain"])
    with pytest.raises(InputError, match="plain layout have no folds"):
        sweep(plain, ["--sweep.data.val_fold=0,1"], tmp_path / "run")


@pytest.mark.parametrize("text", ["[", "{}", "[]", "[1]", '[{"name": "a"}, {"nom": "b"}]'])
def test_a_damaged_list_says_so(tmp_path, text):
    with pytest.raises(InputError, match="holds no sweep"):
        write_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(InputError, match=r"sweep\.json is damaged"):
        write_sweep(tmp_path)
