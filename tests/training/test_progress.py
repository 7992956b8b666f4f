import io
import subprocess
import sys

import pytest
from rich.console import Console

from sampath_jax import console
from sampath_jax.training.progress import QUIET_SECONDS, Speed, TimeLeft, TrainingProgress

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


FULL_DISK = """
import resource, sys
from pathlib import Path
from sampath_jax.training.progress import TrainingProgress

resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
values = dict(loss=1.0, learning_rate=1e-4, tiles_per_second=1.0, waiting=0.0)
with TrainingProgress(1000, 0, 10, Path(sys.argv[1])) as progress:
    for step in range(1000):
        progress.log(step, values)
print("trained to the end")
"""


def test_a_full_disk_ends_the_events_and_nothing_else(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.endswith("trained to the end\n"), done.stderr
    assert done.stderr.count("TensorBoard gets no more events") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("width", [48, 80, 120])
def test_a_narrow_terminal_cuts_the_text_not_the_steps(width, monkeypatch):
    terminal = Console(file=io.StringIO(), force_terminal=True, width=width, record=True)
    monkeypatch.setattr(console, "out", terminal)
    progress = TrainingProgress(total=4608, first=431, steps_per_epoch=144, tensorboard=None)
    progress.log(431, VALUES)
    terminal.print(progress._bar.get_renderable())
    line = terminal.export_text().splitlines()[-1]
    assert line.startswith("epoch 3/32")
    assert " 431/4608 loss 0.4312" in line
    assert ("waiting 2%" in line) == (width >= 80)


def test_a_long_evaluation_says_how_far_it_is(clock, capsys):
    progress = TrainingProgress(total=40, first=0, steps_per_epoch=10, tensorboard=None)
    for tiles in range(0, 500, 100):
        progress.validating(tiles, 431)
        clock[0] += QUIET_SECONDS / 2
    assert capsys.readouterr().out.splitlines() == ["validating 200/431 tiles", "validating 400/431 tiles"]


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
