"""What every command shares: argument parsing with ``--config.key=value`` overrides, and clean failures."""

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from sampath_jax import compilation_cache, console
from sampath_jax.config import load_config
from sampath_jax.errors import InputError, StoppedElsewhere
from sampath_jax.freed_memory import keep_freed_memory

#: Exit status of a command that refused its input.
BAD_INPUT = 2
#: Where work directories are unless told otherwise.
RUNS = Path("runs")
#: Exit status of a command ended by Ctrl-C, by convention of the shell.
INTERRUPTED = 128 + signal.SIGINT


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Runs a command's `main(arguments)` and exits with its status; bad input and Ctrl-C become a message."""
    keep_freed_memory()
    compilation_cache.enable()
    try:
        status = main(sys.argv[1:])
    except StoppedElsewhere:
        sys.exit(BAD_INPUT)
    except InputError as error:
        console.error(str(error))
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        console.error("stopped by Ctrl-C")
        sys.exit(INTERRUPTED)
    sys.exit(status or 0)


def command_line() -> str:
    """The command that started this process, as it can be typed again."""
    return shlex.join([Path(sys.orig_argv[0]).name, *sys.orig_argv[1:]])


def add_config(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Adds ``--config FILE``; overrides are read from what the parser leaves over."""
    parser.add_argument("--config", type=Path, required=required, metavar="FILE", help="a file of configs/")
    parser.epilog = "Any value of the config can be overridden: --config.loss.alpha=0.5"


def add_workdir(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds ``--workdir DIR`` to a parser with `add_config`; `workdir` says what it defaults to."""
    parser.add_argument("--workdir", type=Path, metavar="DIR", help=f"{what}; default: {RUNS}/<config.name>")


def workdir(options: argparse.Namespace, config: ConfigDict) -> Path:
    """The folder that ``--workdir`` names, else the one of the config's name."""
    return options.workdir or RUNS / config.name


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[argparse.Namespace, ConfigDict | None]:
    """Parses `arguments`; returns them and, for parsers with `add_config`, the validated config.

    Raises:
        InputError: for an unknown config key, naming the nearest known one, or an impossible value.
    """
    # taken out first: argparse takes one with a space in its value for a value of the option before it
    overrides = [a for a in arguments if a.startswith("--config.")]
    namespace, unknown = parser.parse_known_args([a for a in arguments if a not in overrides])
    if unknown or (overrides and not {"config", "workdir"} & vars(namespace).keys()):
        parser.error(f"unrecognised arguments: {' '.join(unknown or overrides)}")
    namespace.overrides = overrides
    if getattr(namespace, "config", None) is None:
        return namespace, None
    return namespace, load_config(namespace.config, overrides)
