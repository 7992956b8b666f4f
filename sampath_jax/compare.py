"""Sets runs side by side: `python -m sampath_jax.compare RUN [RUN ...]`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sampath_jax import cli, console


def main(arguments: Sequence[str]) -> int:
    """Prints and writes scores and costs of runs side by side, with the paper's row where it has one."""
    parser = argparse.ArgumentParser(prog="python -m sampath_jax.compare", description=main.__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="work directories with scores")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("comparison"),
        metavar="DIR",
        help="gets comparison.md, .csv and .html; default: ./comparison",
    )
    options, _ = cli.parse(parser, arguments)
    from sampath_jax.reporting.comparison import compare
    from sampath_jax.reporting.comparison_notes import notes
    from sampath_jax.reporting.comparison_tables import tables, to_csv, to_html, to_markdown
    from sampath_jax.workdir import explain_os_errors, write_atomically

    runs = compare(options.runs, options.split)
    with explain_os_errors(options.output):
        options.output.mkdir(parents=True, exist_ok=True)
        for kind, text in (("md", to_markdown(runs)), ("csv", to_csv(runs)), ("html", to_html(runs))):
            write_atomically(options.output / f"comparison.{kind}", text)
    for found in tables(runs):
        console.table(found.title, found.header, found.rows)
    for note in notes(runs):
        console.out.print(note, soft_wrap=True)
    console.out.print(f"Written to {options.output}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    cli.run(main)
