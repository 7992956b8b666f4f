import argparse

import pytest

from sampath_jax import cli, console
from sampath_jax.errors import InputError


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
