import argparse
from pathlib import Path

import pytest

from sampath_jax import cli, console
from sampath_jax.errors import InputError, StoppedElsewhere


def parser():
    made = argparse.ArgumentParser()
    cli.add_config(made)
    made.add_argument("--workdir")
    return made


def test_options_and_overrides_in_any_order():
    options, config = cli.parse(
        parser(), ["--config.loss.alpha=0.5", "--config", "configs/crag.py", "--workdir", "runs/x"]
    )
    assert options.workdir == "runs/x"
    assert (config.name, config.loss.alpha) == ("crag", 0.5)


@pytest.mark.parametrize("rest", [["--wrkdir=x"], ["stray"], ["-config.loss.alpha=1"]])
def test_unknown_arguments_are_refused(rest, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.parse(parser(), ["--config", "configs/crag.py", *rest])
    assert exit_.value.code == cli.BAD_INPUT
    assert rest[0] in capsys.readouterr().err


def test_bad_input_is_one_message_without_a_traceback(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["command"])

    def main(arguments):
        raise InputError("mask/a.png [x] holds value 9")

    with pytest.raises(SystemExit) as exit_:
        cli.run(main)
    err = capsys.readouterr().err
    assert exit_.value.code == cli.BAD_INPUT
    assert "mask/a.png [x] holds value 9" in err
    assert "Traceback" not in err


def test_ctrl_c_before_training_is_one_message(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["command"])

    def main(arguments):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as exit_:
        cli.run(main)
    assert exit_.value.code == 130
    assert capsys.readouterr().err == "error: stopped by Ctrl-C\n"


def test_a_process_that_another_stopped_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["command"])

    def main(arguments):
        raise StoppedElsewhere("checking the data set")

    with pytest.raises(SystemExit) as exit_:
        cli.run(main)
    assert exit_.value.code == cli.BAD_INPUT
    assert capsys.readouterr() == ("", "")


def test_the_work_directory_is_named_after_the_config():
    made = argparse.ArgumentParser()
    cli.add_config(made)
    cli.add_workdir(made, "where everything goes")
    assert "default: runs/<config.name>" in made.format_help()
    command = ["--config", "configs/crag.py"]
    assert cli.workdir(*cli.parse(made, command)) == Path("runs/crag")
    assert cli.workdir(*cli.parse(made, [*command, "--config.name=mine"])) == Path("runs/mine")
    assert cli.workdir(*cli.parse(made, [*command, "--workdir=x"])) == Path("x")


def test_status_of_the_command_is_the_exit_status(monkeypatch):
    monkeypatch.setattr("sys.argv", ["command", "--x"])
    with pytest.raises(SystemExit) as exit_:
        cli.run(lambda arguments: len(arguments) + 142)
    assert exit_.value.code == 143


def test_tables_align_and_format_numbers(capsys):
    console.table("Classes", ("name", "Dice", "pixels"), [("[a]", 0.5, 1234567), ("b", 1.0, 3)])
    out = capsys.readouterr().out
    assert "[a]" in out
    assert "0.5000" in out
    assert "1,234,567" in out
