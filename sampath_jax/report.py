"""Writes the report of a run: `python -m sampath_jax.report --workdir DIR`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sampath_jax import cli, console


def main(arguments: Sequence[str]) -> int:
    """Writes report.html, one file that opens offline, and its figures as PNG and SVG."""
    parser = argparse.ArgumentParser(prog="python -m sampath_jax.report", description=main.__doc__)
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR", help="a run, at any stage")
    parser.add_argument(
        "--split", choices=("train", "val", "test"), help="default: test, if it has been evaluated"
    )
    parser.epilog = "If the data set has moved: --config.data.root=DIR"
    options, _ = cli.parse(parser, arguments)
    from sampath_jax.reporting.write import FIGURES, write_report

    file = write_report(options.workdir, options.split, options.overrides)
    console.out.print(f"Written to {file}; figures in {options.workdir / FIGURES}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    cli.run(main)
