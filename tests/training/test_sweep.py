"""Heads that are trained together equal heads that are trained alone."""

import json

import jax
import numpy as np
import pytest

from sampath_jax.config import override
from sampath_jax.distributed import Placement, make_mesh
from sampath_jax.errors import InputError
from sampath_jax.evaluation.sweep_figure import read_sweep, write_sweep
from sampath_jax.training import memory
from sampath_jax.training.checkpoints import Checkpoints
from sampath_jax.training.loop import train
from sampath_jax.training.state import TrainState
from sampath_jax.training.sweep import sweep
from sampath_jax.training.sweep_settings import parse_sweep
from sampath_jax.workdir import WorkDir, load_head
from tests.training.experiments import small_config

pytestmark = pytest.mark.optim


@pytest.fixture(scope="module")
def config(tiles):
    return small_config(tiles, "optim.epochs=2", "optim.drop_epochs=(1,)")


@pytest.fixture(scope="module")
def swept(config, tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "run"
    outcome = sweep(config, ["--sweep.loss.alpha=0.25,0.75", "--sweep.loss.beta=0.5"], path)
    return path, outcome


def lines_of(path):
    return WorkDir.open(path).read_metrics()


def test_each_head_equals_the_same_setting_trained_alone(config, swept, tmp_path):
    path, outcome = swept
    assert [setting.name for setting in outcome.settings] == ["alpha=0.25_beta=0.5", "alpha=0.75_beta=0.5"]
    for setting in outcome.settings:
        alone = tmp_path / setting.name
        train(setting.config, alone)
        together = lines_of(path / setting.name)
        assert [line["step"] for line in together] == [line["step"] for line in lines_of(alone)]
        for ours, theirs in zip(together, lines_of(alone), strict=True):
            for name, value in theirs["train"].items():
                assert ours["train"][name] == pytest.approx(value, rel=1e-5), (line_of(ours), name)
        _, head, _ = load_head(WorkDir.open(path / setting.name), "last")
        _, other, _ = load_head(WorkDir.open(alone), "last")
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), head, other)


def line_of(record):
    return f"step {record['step']}"


def test_the_heads_differ(swept):
    path, outcome = swept
    losses = [lines_of(path / setting.name)[-1]["train"]["loss"] for setting in outcome.settings]
    assert abs(losses[0] - losses[1]) > 1e-3


def test_table_and_plot(swept):
    path, _ = swept
    write_sweep(path)
    keys, rows = read_sweep(path)
    assert keys == ("loss.alpha", "loss.beta")
    assert [row["loss.alpha"] for row in rows] == [0.25, 0.75]
    text = (path / "sweep.csv").read_text()
    for row in rows:
        assert f"{row['val_dice']}" in text
    assert (path / "sweep.png").stat().st_size > 1000
    assert "<svg" in (path / "sweep.svg").read_text()


def test_a_finished_sweep_does_nothing_more_and_another_list_is_refused(config, swept):
    path, outcome = swept
    again = sweep(config, ["--sweep.loss.alpha=0.25,0.75", "--sweep.loss.beta=0.5"], path)
    assert again.scores == outcome.scores
    with pytest.raises(InputError, match=r"belongs to a sweep over alpha=0\.25_beta=0\.5"):
        sweep(config, ["--sweep.loss.alpha=0.25"], path)


def test_after_a_kill_between_two_saves_all_heads_go_on_from_the_older(config, swept, tmp_path, monkeypatch):
    """The second head never saw the last save: both resume from the one before and end as if nothing was."""
    path, outcome = swept
    saved = Checkpoints.save
    victim = tmp_path / "killed" / outcome.settings[1].name / "checkpoints"

    def save(self, step, *arguments):
        if self.folder == victim and step == 6:
            raise KeyboardInterrupt
        saved(self, step, *arguments)

    monkeypatch.setattr(Checkpoints, "save", save)
    arguments = ["--sweep.loss.alpha=0.25,0.75", "--sweep.loss.beta=0.5"]
    with pytest.raises(KeyboardInterrupt):
        sweep(config, arguments, tmp_path / "killed")
    monkeypatch.undo()
    sweep(config, arguments, tmp_path / "killed")
    for setting in outcome.settings:
        _, head, _ = load_head(WorkDir.open(tmp_path / "killed" / setting.name), "last")
        _, whole, _ = load_head(WorkDir.open(path / setting.name), "last")
        jax.tree.map(np.testing.assert_array_equal, head, whole)
        assert len(lines_of(tmp_path / "killed" / setting.name)) == len(lines_of(path / setting.name))


def test_folds_are_swept_each_without_its_own_validation_tiles(config, tmp_path):
    outcome = sweep(override(config, ["optim.epochs=1"]), ["--sweep.data.val_fold=0,1"], tmp_path / "folds")
    configs = [setting.config.data.val_fold for setting in outcome.settings]
    assert configs == [0, 1]
    assert all(score is not None for score in outcome.scores)
    listed = json.loads((tmp_path / "folds" / "sweep.json").read_text())
    assert listed == [{"name": f"val_fold={f}", "data.val_fold": f} for f in (0, 1)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sweep.model.sam=tiny,vit_b"], r"only these keys may differ: loss\.alpha"),
        (["--sweep.data.canvas=64,128"], "only these keys may differ"),
        (["--sweep.loss.alpha="], "write it as"),
        (["--sweep.loss.alpha=0.5,0.5"], "twice"),
        (["--sweep.loss.alpha=0.5,2"], "must be between 0 and 1"),
        ([], "nothing to sweep"),
    ],
)
def test_sweeps_that_cannot_be(config, arguments, message):
    with pytest.raises(InputError, match=message):
        parse_sweep(config, arguments)


def test_seeds_of_random_encoders_cannot_be_swept(config, tmp_path):
    with pytest.raises(InputError, match="other encoders"):
        sweep(config, ["--sweep.seed=0,1"], tmp_path / "seeds")


def test_a_sweep_that_does_not_fit_says_how_many_heads_would(config, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda device: 101_000_000)
    placement = Placement(make_mesh(config.mesh))
    array = jax.ShapeDtypeStruct((1000, 1000), np.float32)  # 4 MB; a state of three is 12
    one = TrainState(jax.ShapeDtypeStruct((), np.int32), array, (array, array))
    memory.check_fits(one, 4, 1, placement)
    with pytest.raises(InputError, match="5 heads would fit"):
        memory.check_fits(one, 20, 1, placement)
