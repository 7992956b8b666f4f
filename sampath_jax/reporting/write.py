"""Writes the report of a run: ``report.html``, and its figures for a paper in ``figures/``."""

from collections.abc import Iterable
from pathlib import Path

import jax

from sampath_jax import console
from sampath_jax.errors import InputError
from sampath_jax.reporting import figures, results_sections, run_sections
from sampath_jax.reporting.contents import Contents, gather
from sampath_jax.reporting.html import element, page
from sampath_jax.reporting.style import CSS
from sampath_jax.workdir import explain_os_errors, write_atomically

REPORT, FIGURES = "report.html", "figures"


def write_report(workdir: Path, split: str | None = None, overrides: Iterable[str] = ()) -> Path:
    """Writes the report of the work directory and returns its path.

    Args:
        workdir: of a run, however far it has gone.
        split: to report on; None takes the first of test, val and train that has been evaluated.
        overrides: of the config, such as ``config.data.root=DIR``.

    Raises:
        InputError: not a work directory, damaged results, a full disk.
    """
    contents = gather(workdir, split, overrides)
    file = workdir / REPORT
    with explain_os_errors(file):
        write_figures(contents, workdir / FIGURES)
        write_atomically(file, render(contents))
    return file


def report_after(workdir: Path, split: str | None = None, overrides: Iterable[str] = ()) -> None:
    """Writes the report at the end of a command, in its first process.

    The command's own results are safe by then, so a failure only warns.
    """
    if jax.process_index() != 0:
        return
    try:
        file = write_report(workdir, split, overrides)
    except (InputError, OSError) as error:
        console.warning(f"there is no report: {error}")
    else:
        console.out.print(f"Report: {file}", soft_wrap=True)


def render(contents: Contents) -> str:
    """The page."""
    evaluation, colors = contents.evaluation, contents.colors
    return page(
        f"{contents.workdir.config.name}: SAM-Path run report",
        CSS,
        run_sections.header(contents),
        element(
            "main",
            results_sections.results(contents),
            results_sections.confusion(evaluation, colors) if evaluation else None,
            results_sections.tiles(contents) if evaluation else None,
            results_sections.learning_curves(contents),
            run_sections.data(contents),
            run_sections.model(contents),
            run_sections.provenance(contents),
        ),
    )


def write_figures(contents: Contents, folder: Path) -> None:
    """Each figure that there is something to draw for, as PNG and SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    if contents.metrics:
        figures.save(figures.curves(contents.metrics, contents.colors), folder / "learning_curves")
    if contents.evaluation:
        matrix = figures.confusion_matrix(contents.evaluation.confusion, contents.evaluation.classes)
        figures.save(matrix, folder / "confusion_matrix")
    if contents.examples:
        rows = figures.one_per_rank(contents.examples)
        figures.save(figures.qualitative(rows, contents.drawn_colors), folder / "qualitative")
