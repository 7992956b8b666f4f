import pytest

from sampath_jax.training.progress import Speed, TimeLeft, TrainingProgress

VALUES = {"loss": 0.4312, "learning_rate": 1e-4, "tiles_per_second": 38.1, "waiting": 0.02}
SCORES = {
    "macro_dice": 0.75,
    "macro_iou": 0.6,
    "per_class": {"[gland]": {"dice": 0.8}, "necrosis": {"dice": None}},
}


def test_plain_lines_without_a_terminal(capsys):
    with TrainingProgress(total=40, first=10, steps_per_epoch=10, tensorboard=None) as progress:
        progress.step(15)
        progress.log(15, VALUES)
        progress.evaluation(20, SCORES, best=True)
    out = capsys.readouterr().out
    assert "step 15/40  epoch 1.50  lr 1.0e-04  loss 0.4312  38.1 tiles/s  waiting 2%" in out
    assert "epoch 2  val Dice 0.7500  IoU 0.6000  [gland] 0.8000  necrosis -  best so far" in out
    assert "\x1b" not in out


def test_quiet_processes_show_and_write_nothing(capsys, tmp_path):
    with TrainingProgress(40, 0, 10, tmp_path / "events", quiet=True) as progress:
        progress.log(5, VALUES)
        progress.evaluation(10, SCORES, best=False)
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "events").exists()


def test_tensorboard_gets_scalars_and_skips_undefined_ones(tmp_path):
    with TrainingProgress(40, 0, 10, tmp_path) as progress:
        progress.log(5, VALUES)
        progress.evaluation(10, SCORES, best=False)
    (events,) = tmp_path.glob("events*")
    written = events.read_bytes()
    for name in (b"train/loss", b"train/waiting", b"val/macro_dice", b"val_dice/"):
        assert name in written
    assert b"necrosis" not in written


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    return now


def test_speed_counts_tiles_and_waiting(clock):
    speed = Speed()
    speed.add(12, 0.5)
    speed.add(4, 0.5)
    clock[0] += 4
    assert speed.take() == {"tiles_per_second": 4.0, "waiting": 0.25}
    speed.add(8, 1.0)
    speed.restart()  # an evaluation of any length
    speed.add(2, 0.0)
    clock[0] += 1
    assert speed.take() == {"tiles_per_second": 2.0, "waiting": 0.0}


def test_time_left_leaves_out_the_first_step(clock):
    left = TimeLeft(total=20)
    clock[0] += 60  # compiling
    assert left.after(11) is None
    clock[0] += 4
    assert left.after(13) == 14.0  # two seconds a step, seven to go
