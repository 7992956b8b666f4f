"""Terminal output: tables, messages, progress. Plain lines where there is no terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

#: Results and tables.
out = Console(highlight=False)
#: Messages about the run.
err = Console(stderr=True, highlight=False)


def error(message: str) -> None:
    """Prints an error message on stderr."""
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)


def warning(message: str) -> None:
    """Prints a warning on stderr."""
    err.print(f"[yellow]warning:[/] {escape(message)}", soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table; numbers are right-aligned."""
    rows = [list(row) for row in rows]
    view = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for i, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        view.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        view.add_row(*[escape(_cell(value)) for value in row])
    out.print(view)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
